# Weir. `make help` lists the targets; what is longer than a line is in test/.

GO            ?= go
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT        ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS       ?= -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
ARGS          ?=
KERNELS       ?= bullseye-security:5.10 bookworm-security:6.1 trixie-security:6.12
FUZZTIME      ?= 10000x
BENCHTIME     ?= 1s
DURATION      ?= 30m
WEIR_CACHE    ?= $(HOME)/.cache/weir
COMPOSE       ?= docker compose
IMAGE         ?= weir:$(VERSION)
SUDO          := $(if $(filter 0,$(shell id -u)),,sudo -E)

export KERNELS FUZZTIME WEIR_CACHE
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## the static binary ./weir
	CGO_ENABLED=0 $(GO) build -tags grpcnotrace -trimpath -ldflags '$(LDFLAGS)' -o weir ./cmd/weir

.PHONY: run
run: build ## build and run the probe, with ARGS="…" (sudo unless root)
	$(SUDO) ./weir run $(ARGS)

.PHONY: install-tools
install-tools: ## what the tests need: Debian packages, a real InfluxDB (cached)
	@test/install.sh

.PHONY: test
test: install-tools ## everything: installs what it needs, runs all levels, reports
	@test/run.sh; status=$$?; $(GO) run ./test/summary report && exit $$status

.PHONY: test-unit
test-unit: ## what needs nothing but Go
	@test/run.sh unit

.PHONY: test-race
test-race: ## what starts goroutines, under the race detector
	@test/run.sh race

.PHONY: test-root
test-root: ## network namespaces, BPF, containers (root)
	@test/run.sh root cases-a cases-f

.PHONY: test-deploy
test-deploy: ## images, compose files and the demo (root, Docker)
	@test/run.sh deploy

.PHONY: test-e2e
test-e2e: build ## the program against real servers and containers (root)
	@test/run.sh e2e

.PHONY: vm-test
vm-test: ## weir and its kernel tests under each of KERNELS, emulated (about two minutes)
	@test/run.sh kernels

.PHONY: bench
bench: ## what Weir costs, with and without it (root, about six minutes), ARGS="-json FILE"
	$(SUDO) $(GO) run ./test/bench $(ARGS)

.PHONY: accuracy
accuracy: build ## how right every row is at three rates, into docs/accuracy.md (root, a bit more than a minute)
	$(SUDO) ./weir selftest --rate 100,1000,max --duration 20s --interval 2s --table docs/accuracy.md $(ARGS)

.PHONY: anomaly
anomaly: ## how right the anomaly detectors are over scripted weeks, into docs/anomaly.md (four minutes)
	$(GO) test ./correlate/anomaly -run 'TestWeek|TestRoughWeek|TestSensitivity' -count 1 -v -timeout 60m -args -weeks 12 -roughs 12 -table ../../docs/anomaly.md $(ARGS)

.PHONY: sizing
sizing: ## rows, series and disk by hosts and containers, into docs/sizing.md (real InfluxDB, ten to twenty minutes)
	$(GO) test ./test/volume -run TestSizing -count=1 -timeout 60m -v -sizing $(CURDIR)/docs/sizing.md

.PHONY: hostile
hostile: ## the hostile worlds against the default budget, into docs/sizing.md (real InfluxDB, ten minutes)
	$(GO) test ./test/volume -run TestHostileWorlds -count=1 -timeout 60m -v -hostile $(CURDIR)/docs/sizing.md

.PHONY: outage
outage: ## a database that is stopped for DURATION while a probe writes to it, both versions (root)
	$(SUDO) $(GO) test ./test/faults -run TestCaseJ4_Away -count=1 -timeout 0 -v -away $(DURATION)

.PHONY: bench-go
bench-go: ## benchmarks of the packages, each for BENCHTIME
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...

.PHONY: bench-dashboards
bench-dashboards: ## every query of the dashboards over a week of 100 containers, into docs/dashboards.md (ten minutes of CPU), ARGS="-influxdb 2.7.12"
	$(GO) test ./test/load -run TestDashboards -week -table $(CURDIR)/docs/dashboards.md -v -count=1 -timeout 3h $(ARGS)

.PHONY: fuzz
fuzz: ## every fuzz target, FUZZTIME executions each
	@test/run.sh fuzz

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@test/run.sh lint

.PHONY: generate
generate: ## BPF objects from bpf/*.c (clang-19, llvm-19, libbpf-dev)
	$(GO) generate ./bpf

.PHONY: verify-generated
verify-generated: ## the committed BPF objects are what their sources generate
	@test/verify-generated.sh

.PHONY: dashboards
dashboards: ## dashboards/grafana/*.json, chronograf/*.json and the alert rules from dashboards/*.go
	$(GO) test ./dashboards -run '^Test(AlertRulesAre)?Generated$$' -count=1 -update

.PHONY: kapacitor
kapacitor: ## deploy/kapacitor/*.tick from sink/influxdb/setup
	$(GO) test ./deploy -run TestTICKscripts -count=1 -update

.PHONY: image
image: build ## the container image, from ./weir (deploy/Dockerfile makes it without Go)
	docker build -f deploy/Dockerfile.prebuilt -t $(IMAGE) .

# Compose takes the images that are there; without them it builds them, and needs no Go.
.PHONY: up demo tick
up demo tick: IMAGE = weir
up: image ## InfluxDB, Grafana and Weir on this machine (Docker Compose v2)
	$(COMPOSE) up -d

demo: image ## the same with a small shop, an outage every five minutes and a break-in after eight
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o deploy/demo/demo ./deploy/demo
	docker build -t weir-demo deploy/demo
	WEIR_CONFIG=/etc/weir/demo.yaml $(COMPOSE) --profile demo up -d

tick: image ## in place of that InfluxDB 1.8, Kapacitor, Chronograf and Weir
	$(COMPOSE) --profile tick up -d influxdb1 kapacitor chronograf weir-tick

.PHONY: clean
clean: ## remove what was built (not the cache)
	rm -rf weir out deploy/demo/demo
