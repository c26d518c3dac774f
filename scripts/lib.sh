# Shared by the scripts of this folder: what they say, and how they fail. To be sourced from the checkout's root.
# shellcheck shell=bash

LOG=.auteur/logs/bootstrap.log
mkdir -p .auteur/logs

say() { printf '  %s\n' "$*" >&2; }

done_line() { # WHAT [FACTS]
    printf '  ✓ %-28s %s\n' "$1" "${2:-}" >&2
}

fail() { # WHAT-HAPPENED WHAT-TO-DO [LOG]
    [ -z "${3:-}" ] || { tail -n 12 "$3" 2>/dev/null | sed 's/^/  │ /' >&2; say "the whole log: $3"; }
    printf 'error: %s\n  %s\n' "$1" "$2" >&2
    exit 1
}

free_gigabytes() { df -Pm . | awk 'NR == 2 {print int($4 / 1024)}'; }

waiting_for() { # WHAT NOTE COMMAND…: its output goes to $LOG; says every half minute that it still works
    local what=$1 note=$2 began=$SECONDS told=$SECONDS child
    shift 2
    printf '\n── %s\n' "$what" >>"$LOG"
    say "$what  $note"
    "$@" >>"$LOG" 2>&1 &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        ((SECONDS < told + 30)) || { told=$SECONDS; say "  … $((SECONDS - began)) s"; }
        sleep 0.3
    done
    wait "$child"
}

# ── runners ───────────────────────────────────────────────────────────────────────────────────────────────────────────

runner_folders() { # a line each: a runner is a folder with a project of its own, and nothing lists them
    local project
    for project in images/runners/*/pyproject.toml; do
        [ ! -f "$project" ] || dirname "$project"
    done
}

runner_of() { # FOLDER: the one that its image serves, the first of its entry points
    sed -n '/^\[project\.entry-points\."auteur\.runners"\]/,/^\[/s/^\([a-z0-9-]*\) *=.*/\1/p' "$1/pyproject.toml" | head -n 1
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
