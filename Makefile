# The few verbs of this checkout. Each installs what it needs first; a second run finds it installed.
.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
BIN := .venv/bin
PYTHONS := libs operator services scripts tests images/runners
refuse = printf 'error: %s\n' "$(1)" >&2; exit 2

.PHONY: help demo up down logs status services api worker shell dev test unit e2e chaos lint fmt bench bench-cluster build
.PHONY: images new-project redis shell-backend shell-frontend up-with-comfyui

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## from a clone to a picture in out/
	@scripts/demo

up: ## start the studio on this machine
	@scripts/bootstrap
	@$(BIN)/auteur up

down: ## stop it; its data stays
	@scripts/bootstrap --platform
	@$(BIN)/auteur down

status: ## what runs, and how much disk it uses
	@scripts/bootstrap --platform
	@$(BIN)/auteur status

logs: ## what its programs write, until Ctrl-C
	@scripts/bootstrap --platform
	@$(BIN)/auteur server-logs --follow

services: ## NATS, the store and the engine only; the API and workers are yours to run
	@scripts/bootstrap
	@$(BIN)/auteur up --services

api: services ## the API in this terminal, until Ctrl-C
	@$(BIN)/auteur exec gateway

worker: services ## a worker in this terminal, until Ctrl-C: NAME=diffusion-tiny
	@$(BIN)/auteur exec $(or $(NAME),diffusion-tiny)

shell: ## a shell with the settings of one program: NAME=gateway, engine or a runner
	@$(if $(NAME),$(BIN)/auteur exec $(NAME) "$${SHELL:-bash}",$(call refuse,make shell needs a NAME: gateway or engine or a runner's))

dev: ## install tests and linters too, and run the studio in the foreground
	@scripts/bootstrap --dev
	@$(BIN)/auteur up --foreground

test: ## all tests, on real servers and a real control plane of Kubernetes; minutes
	@scripts/test

unit: ## the tests that need no server; seconds
	@scripts/bootstrap --dev --platform
	@$(BIN)/python -m pytest -q tests/unit

e2e: ## the studio on a real node, in containers (Debian, as root); minutes
	@scripts/test-node

chaos: ## thousands of jobs while everything is killed in turn; a quarter of an hour
	@scripts/bootstrap --tests
	@scripts/cluster-tools control-plane >/dev/null
	AUTEUR_TEST_FULL=1 $(BIN)/python -m pytest -q -rP tests/cluster/test_operator_chaos.py

lint: ## what a change must pass: style, types, imports, hygiene
	@scripts/bootstrap --dev --platform
	$(BIN)/ruff check $(PYTHONS)
	$(BIN)/ruff format --check $(PYTHONS)
	$(BIN)/mypy
	$(BIN)/lint-imports
	scripts/check-hygiene

fmt: ## format, and fix what can be fixed by itself
	@scripts/bootstrap --dev --platform
	$(BIN)/ruff check --fix $(PYTHONS)
	$(BIN)/ruff format $(PYTHONS)

bench: ## measure, each figure beside a floor of the same run; minutes
	@scripts/bootstrap --dev
	$(BIN)/python -m tests.bench

bench-cluster: ## measure the operator, beside a bare loop on the same control plane; minutes
	@scripts/bootstrap --tests
	@scripts/cluster-tools control-plane >/dev/null
	$(BIN)/python -m tests.bench.cluster

images: ## every program as an image, by the builder that is there
	@scripts/build-images

build: ## the wheels of the platform and its runners, into dist/
	@scripts/build

# What other projects' Makefiles call these, and what is not here: docs/founding.md.
redis: services

shell-backend:
	@$(MAKE) --no-print-directory shell NAME=gateway

shell-frontend:
	@$(call refuse,the studio in the browser is not built yet; its page today is part of the gateway)

new-project:
	@$(call refuse,there are no projects to make yet; a job may name one: auteur create --project $(or $(NAME),NAME) …)

up-with-comfyui:
	@$(call refuse,ComfyUI is no part of Auteur: its place is taken by Function Runners; see docs/architecture/04-runners.md)
