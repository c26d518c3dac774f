# Shared by the scripts of this folder: what they say, and how they fail. To be sourced from the checkout's root.
# shellcheck shell=bash

LOG=.auteur/logs/bootstrap.log
mkdir -p .auteur/logs
: "${TERM:=dumb}"

if [ -t 2 ] && [ "$TERM" != dumb ]; then LIVE=yes; else LIVE=no; fi

say() { printf '  %s\n' "$*" >&2; }

done_line() { # WHAT [FACTS]: aligned with what is shown while it goes on
    printf '  ✓ %-28s %s\n' "$1" "${2:-}" >&2
}

fail() { # WHAT-HAPPENED WHAT-TO-DO [LOG]
    [ -z "${3:-}" ] || { tail -n 12 "$3" 2>/dev/null | sed 's/^/  │ /' >&2; say "the whole log: $3"; }
    printf 'error: %s\n  %s\n' "$1" "$2" >&2
    exit 1
}

free_megabytes() { df -Pm . | awk 'NR == 2 {print $4}'; }
free_gigabytes() { echo $(($(free_megabytes) / 1024)); }

columns() { tput cols 2>/dev/null || echo 80; }

bar() { # PERCENT
    local filled=$(($1 / 5)) drawn="" index
    for ((index = 0; index < 20; index++)); do
        if ((index < filled)); then drawn+=█; else drawn+=░; fi
    done
    printf '%s' "$drawn"
}

# Runs a quiet command, its output in $LOG. Its progress is how much fuller the disk got, of about MEGABYTES.
with_progress() { # WHAT MEGABYTES NOTE COMMAND…
    local what=$1 megabytes=$2 note=$3 before began grown percent child status=0 shown=0
    local room=$(($(columns) - 62)) # a line that wraps cannot be drawn again in place
    ((room > 0)) || room=0
    shift 3
    before=$(free_megabytes) began=$SECONDS
    printf '\n── %s\n' "$what" >>"$LOG"
    "$@" >>"$LOG" 2>&1 &
    child=$!
    [ "$LIVE" = yes ] || say "$what  $note"
    while kill -0 "$child" 2>/dev/null; do
        grown=$((before - $(free_megabytes)))
        ((grown < 0)) && grown=0
        percent=$((grown * 100 / megabytes))
        ((percent > 95)) && percent=95
        if [ "$LIVE" = yes ]; then
            printf '\r\033[K  %-28s %s  %3d s  %s' "$what" "$(bar "$percent")" "$((SECONDS - began))" "${note:0:$room}" >&2
        elif ((SECONDS - began >= shown + 30)); then
            shown=$((SECONDS - began))
            say "  … $grown MB, $shown s"
        fi
        sleep 0.3
    done
    wait "$child" || status=$?
    [ "$LIVE" = yes ] && printf '\r\033[K' >&2
    return "$status"
}

# ── uv ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

UV_OLDEST=0.9 # the first that is sure to know --torch-backend and dependency groups

new_enough() { # is the version of this uv at least UV_OLDEST?
    local version
    version=$("$1" --version 2>/dev/null | awk '{print $2}') || return 1
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$UV_OLDEST" "$version" | sort -V | head -1)" = "$UV_OLDEST" ]
}

find_uv() { # its path; scripts/bootstrap puts one where none is found
    local candidate
    for candidate in "$(command -v uv || true)" "${HOME:-}/.local/bin/uv" .auteur/tools/bin/uv; do
        if [ -n "$candidate" ] && [ -x "$candidate" ] && new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    return 1
}
