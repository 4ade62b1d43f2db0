# mod_smartsupp_hook. README.md says what each target does for its user.

BUILD = build
FIND_APXS = command -v apxs || command -v apxs2
APXS = $(shell $(FIND_APXS))
PROVE_FLAGS = -j2
DESTDIR =

# Debian's and Ubuntu's names; README.md has those of other distributions.
# None of them starts a service or opens a port.
BUILD_PACKAGES = gcc libc6-dev perl apache2-bin apache2-dev libcjson-dev \
    libssl-dev libaprutil1-dbd-sqlite3
RUN_PACKAGES = curl sqlite3
TEST_PACKAGES = $(RUN_PACKAGES) libdbi-perl libdbd-sqlite3-perl \
    libdbd-pg-perl libdbd-mariadb-perl libaprutil1-dbd-pgsql \
    libaprutil1-dbd-mysql libaprutil1-dbd-odbc odbc-postgresql libsqliteodbc \
    $(POSTGRESQL) $(MARIADB)
# The servers' programs, unless some version of them is there already. Where the
# distribution's names end in a version, the newest.
newest = $(or $(lastword $(sort $(shell apt-cache pkgnames $(1) 2>&-))),$(1))
POSTGRESQL = $(if $(wildcard /usr/lib/postgresql/*/bin/postgres),,postgresql)
MARIADB = $(if $(wildcard /usr/sbin/mariadbd),,$(call \
    newest,mariadb-server-core)) $(if $(wildcard \
    /usr/bin/my_print_defaults),,$(call newest,mariadb-client-core))
SLOW_PACKAGES = valgrind
# The package of PHP's module switches an Apache that is installed to prefork:
# there the benchmark does without, unless somebody has it already. npm comes
# with some versions of nodejs.
BENCH_PACKAGES = wrk strace nodejs php-sqlite3 php-pgsql php-mysql \
    $(if $(wildcard /usr/share/apache2/apache2-maintscript-helper),, \
    libapache2-mod-php) $(if $(shell command -v npm),,npm)
CODE_PACKAGES = clang-format clang-tidy
FUZZ_PACKAGES = clang libclang-rt-dev llvm

WARNINGS = -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wconversion
ifeq ($(CI),true)
WARNINGS += -Werror
endif

SOURCES = $(wildcard mod_smartsupp_hook/*.c)
HEADERS = $(wildcard mod_smartsupp_hook/*.h)
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)
# The lower storey, smartsupp_*, knows APR and not httpd.
LOWER_OBJECTS = $(filter $(BUILD)/mod_smartsupp_hook/smartsupp_%,$(OBJECTS))
UPPER_OBJECTS = $(filter-out $(LOWER_OBJECTS),$(OBJECTS))
MODULE = $(BUILD)/mod_smartsupp_hook.la
UNITS = $(patsubst t/unit/%.c,$(BUILD)/unit/%,$(wildcard t/unit/*.c))
# Each target of the fuzzer is a program of its own, which is linked twice.
FUZZ_TARGETS = conversation json signature spool
REPLAYS = $(FUZZ_TARGETS:%=$(BUILD)/replay/%)
FUZZERS = $(FUZZ_TARGETS:%=$(BUILD)/fuzzer/%)
FUZZ_SECONDS = 600
LIBRARIES = -lcjson -lcrypto

all: $(MODULE)

# What apxs and APR say of this machine. make restarts once it is written, so
# that a missing compiler or apxs is there before anything is built.
ifneq ($(filter-out deps clean stop format,$(or $(MAKECMDGOALS),all)),)
include $(BUILD)/config.mk
endif

$(BUILD)/config.mk: Makefile
	@mkdir -p $(@D)
	$(call need,$(BUILD_PACKAGES))
	@apxs=$${APXS:-$$($(FIND_APXS))}; \
	[ -n "$$apxs" ] || { echo "apxs is missing: see README.md" >&2; exit 1; }; \
	apr=$$($$apxs -q APR_CONFIG); apu=$$($$apxs -q APU_CONFIG); { \
	    echo "APR_FLAGS = $$($$apr --cppflags --includes)" \
	        "$$($$apu --includes)"; \
	    echo "APR_LIBRARIES = $$($$apu --link-ld) $$($$apr --link-ld)"; \
	    echo "HTTPD_CC = $$($$apxs -q CC)"; \
	    echo "HTTPD_CFLAGS = $$($$apxs -q CFLAGS)"; \
	    echo "HTTPD_INCLUDE = $$($$apxs -q INCLUDEDIR)"; \
	    echo "HTTPD_LIBEXECDIR = $$($$apxs -q LIBEXECDIR)"; \
	    echo "HTTPD_SBINDIR = $$($$apxs -q SBINDIR)"; \
	    echo "HTTPD_SYSCONFDIR = $$($$apxs -q SYSCONFDIR)"; \
	} >$@.tmp
	@mv $@.tmp $@

ifneq ($(origin CC),default)
HTTPD_CC = $(CC)
endif
COMPILE = $(HTTPD_CC) -std=c99 -fPIC $(HTTPD_CFLAGS) $(WARNINGS) \
    $(SANITIZE) $(APR_FLAGS) $(CFLAGS)

$(UPPER_OBJECTS): STOREY = -isystem $(HTTPD_INCLUDE)
$(OBJECTS): $(BUILD)/%.o: %.c $(HEADERS) $(BUILD)/config.mk
	@mkdir -p $(@D)
	@echo "  compile $<"
	@$(COMPILE) $(STOREY) -c -o $@ $<

# APR loads modules RTLD_GLOBAL: only the module record may be seen.
$(MODULE): $(OBJECTS)
	@echo "  link $@"
	@$(APXS) -c -o $@ -Wl,-export-symbols-regex \
	    -Wl,'^smartsupp_hook_module$$' $(OBJECTS) $(LIBRARIES) \
	    >$(BUILD)/link.log 2>&1 || { cat $(BUILD)/link.log >&2; exit 1; }

$(BUILD)/unit/%: t/unit/%.c $(wildcard t/unit/*.h) $(LOWER_OBJECTS)
	@mkdir -p $(@D)
	@echo "  compile $<"
	@$(COMPILE) -Imod_smartsupp_hook -o $@ $< $(LOWER_OBJECTS) \
	    $(LIBRARIES) $(APR_LIBRARIES) -lpthread

# What is the same of both: the target, and the memory that it is given.
FUZZ_SOURCES = t/fuzz/memory.c t/fuzz/fuzz.h $(LOWER_OBJECTS)

$(BUILD)/replay/%: t/fuzz/%.c t/fuzz/replay.c $(FUZZ_SOURCES)
	@mkdir -p $(@D)
	@echo "  compile $< to replay"
	@$(COMPILE) -Imod_smartsupp_hook -o $@ $(filter %.c %.o,$^) \
	    $(LIBRARIES) $(APR_LIBRARIES) -ldl -lpthread

$(BUILD)/fuzzer/%: t/fuzz/%.c $(FUZZ_SOURCES)
	@mkdir -p $(@D)
	@echo "  compile $< to fuzz"
	@$(COMPILE) -fsanitize=fuzzer -Imod_smartsupp_hook -o $@ \
	    $(filter %.c %.o,$^) $(LIBRARIES) $(APR_LIBRARIES) -ldl -lpthread

units: $(UNITS) $(REPLAYS)
fuzzers: $(FUZZERS)

# Each header by itself, in its storey.
headers: $(BUILD)/config.mk
	@for header in $(HEADERS); do \
	    case $$header in \
	    */mod_*) storey="-isystem $(HTTPD_INCLUDE)" ;; \
	    *) storey= ;; \
	    esac; \
	    $(COMPILE) $$storey -x c -fsyntax-only $$header || exit 1; \
	done

# The server's user, who writes the SQLite file and the spool.
HTTPD_USER = $(shell for user in www-data apache httpd daemon; do \
    id -u $$user >/dev/null 2>&1 && echo $$user && break; done)
ROOT = $(and $(DESTDIR),$(abspath $(DESTDIR)))
CONF_DIR = $(ROOT)$(HTTPD_SYSCONFDIR)
DATA_DIR = $(ROOT)/var/lib/smartsupp_hook
FILL = sed 's|@LIBEXECDIR@|$(HTTPD_LIBEXECDIR)|'
# A file that an administrator may have edited stays.
install_once = [ -e $(2) ] && echo "kept $(2)" || \
    { $(FILL) $(1) >$(2) && chmod 644 $(2) && echo "installed $(2)"; }

install: $(MODULE)
	@mkdir -p $(ROOT)$(HTTPD_LIBEXECDIR)
	@$(APXS) -S LIBEXECDIR=$(ROOT)$(HTTPD_LIBEXECDIR) -i \
	    -n smartsupp_hook $(MODULE) >$(BUILD)/install.log 2>&1 || \
	    { cat $(BUILD)/install.log >&2; exit 1; }
	@echo "installed $(ROOT)$(HTTPD_LIBEXECDIR)/mod_smartsupp_hook.so"
	@mkdir -p $(ROOT)$(HTTPD_SBINDIR)
	@install -m 0755 mod_smartsupp_hook/smartsupp-spool $(ROOT)$(HTTPD_SBINDIR)
	@echo "installed $(ROOT)$(HTTPD_SBINDIR)/smartsupp-spool"
	@if [ -d $(HTTPD_SYSCONFDIR)/mods-available ] || [ -e /etc/debian_version ]; \
	then \
	    mkdir -p $(CONF_DIR)/mods-available; \
	    $(FILL) conf/smartsupp_hook.load \
	        >$(CONF_DIR)/mods-available/smartsupp_hook.load; \
	    echo "installed $(CONF_DIR)/mods-available/smartsupp_hook.load"; \
	    $(call install_once,conf/smartsupp_hook.conf,$(CONF_DIR)/mods-available/smartsupp_hook.conf); \
	else \
	    mkdir -p $(CONF_DIR)/extra; \
	    $(call install_once,conf/httpd-smartsupp-hook.conf,$(CONF_DIR)/extra/httpd-smartsupp-hook.conf); \
	fi
	@[ -d $(DATA_DIR) ] || { install -d -m 0750 $(DATA_DIR) && \
	    echo "made $(DATA_DIR)"; \
	    [ "$$(id -u)" != 0 ] || [ -z "$(HTTPD_USER)" ] || \
	        chown $(HTTPD_USER): $(DATA_DIR); }

deps:
	$(call need,$(BUILD_PACKAGES) $(TEST_PACKAGES) $(SLOW_PACKAGES))

run: $(MODULE)
	$(call need,$(RUN_PACKAGES))
	@t/run

stop:
	@[ ! -x t/run ] || t/run stop

# SLOW=1 adds the family 9.
test: $(MODULE) units
	$(call need,$(TEST_PACKAGES) $(if $(SLOW),$(SLOW_PACKAGES)))
	@SMARTSUPP_BUILD=$(BUILD) t/with-servers prove $(PROVE_FLAGS) \
	    $(sort $(wildcard t/[0-8]*.t) $(if $(SLOW),$(wildcard t/9*.t)))

test-slow:
	@$(MAKE) --no-print-directory test SLOW=1

# The unit tests, with what watches them.
unit-tests: units
	@SMARTSUPP_BUILD=$(BUILD) prove $(PROVE_FLAGS) $(wildcard t/0[1-9]*.t)

ASAN_MAKE = UBSAN_OPTIONS=print_stacktrace=1 $(MAKE) --no-print-directory \
    BUILD=build/asan SANITIZE="-O1 -fno-omit-frame-pointer \
    -fsanitize=address,undefined -fno-sanitize-recover=all"

# The unit tests, and all others that can: not the one that runs make, nor
# those that measure memory or put a library of their own before httpd.
asan: asan-units
	@$(ASAN_MAKE) asan-server

asan-units:
	@$(ASAN_MAKE) unit-tests

ASAN_LIBRARIES = $(shell $(HTTPD_CC) -print-file-name=libasan.so):$(shell \
    $(HTTPD_CC) -print-file-name=libubsan.so)
ASAN_LEFT_OUT = t/111% t/132% t/230% t/504% t/505%

asan-server: $(MODULE)
	$(call need,$(TEST_PACKAGES))
	@SMARTSUPP_BUILD=$(BUILD) \
	    SMARTSUPP_MODULE=$(CURDIR)/$(BUILD)/.libs/mod_smartsupp_hook.so \
	    SMARTSUPP_HTTPD_WRAPPER="env LD_PRELOAD=$(ASAN_LIBRARIES) \
	    ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0" \
	    t/with-servers prove $(PROVE_FLAGS) $(filter-out $(ASAN_LEFT_OUT), \
	    $(sort $(wildcard t/[124568]*.t)))

tsan:
	@$(MAKE) --no-print-directory BUILD=build/tsan \
	    SANITIZE="-O1 -fsanitize=thread" unit-tests

# Each target on one input after another, for FUZZ_SECONDS. What it is given is
# kept, so that the next time goes on from there.
fuzz:
	$(call need,$(FUZZ_PACKAGES))
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang \
	    HTTPD_CFLAGS=-g WARNINGS=-Wall SANITIZE="-O1 -fno-omit-frame-pointer \
	    -fsanitize=fuzzer-no-link,address,undefined \
	    -fno-sanitize-recover=all" fuzzers
	@t/fuzz/run $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

valgrind:
	$(call need,$(SLOW_PACKAGES))
	@SMARTSUPP_WRAPPER="valgrind -q --error-exitcode=99 --leak-check=full" \
	    $(MAKE) --no-print-directory unit-tests

# BENCH has options, which t/bench/run and t/bench/growth tell by --help.
bench: BENCH_SCRIPT = run
bench-growth: BENCH_SCRIPT = growth
BENCH_PROGRAMS = $(BUILD)/bench/loop $(BUILD)/bench/relay \
    $(BUILD)/bench/mod_bench_body.la
BENCH_PG = $(BUILD)/bench/node_modules/pg/package.json

bench bench-growth: $(MODULE) $(BENCH_PROGRAMS)
	$(call need,$(TEST_PACKAGES) $(BENCH_PACKAGES))
	@[ -e $(BENCH_PG) ] || npm install --silent --no-audit --no-fund \
	    --prefix $(BUILD)/bench pg@8 >&2 || true
	@SMARTSUPP_BUILD=$(BUILD) t/bench/$(BENCH_SCRIPT) $(BENCH)

$(BUILD)/bench/%: t/bench/%.c $(LOWER_OBJECTS)
	@mkdir -p $(@D)
	@echo "  compile $<"
	@$(COMPILE) -Imod_smartsupp_hook -o $@ $< $(LOWER_OBJECTS) \
	    $(LIBRARIES) $(APR_LIBRARIES) -lpthread

$(BUILD)/bench/%.la: t/bench/%.c $(BUILD)/config.mk
	@mkdir -p $(@D)
	@echo "  compile $<"
	@cp $< $(@D) && $(APXS) -c -o $@ $(@D)/$(<F) >$(@D)/link.log 2>&1 || \
	    { cat $(@D)/link.log >&2; exit 1; }

format:
	$(call need,$(CODE_PACKAGES))
	clang-format -i $(SOURCES) $(HEADERS) $(wildcard t/unit/*.[ch] t/fuzz/*.[ch] \
	    t/bench/*.c)

tidy: $(BUILD)/config.mk headers
	$(call need,$(CODE_PACKAGES))
	@clang-format --dry-run -Werror $(SOURCES) $(HEADERS) \
	    $(wildcard t/unit/*.[ch] t/fuzz/*.[ch] \
	    t/bench/*.c)
	@clang-tidy --quiet $(SOURCES) -- -std=c99 $(APR_FLAGS) \
	    -isystem $(HTTPD_INCLUDE)

clean: stop
	rm -rf $(BUILD)

# need: install those of the packages in $(1) that this machine lacks, without
# removing any. Meanwhile PostgreSQL's are told to make no cluster, so that
# there is nothing for them to start.
define need
@command -v dpkg-query >/dev/null || exit 0; missing=; for p in $(1); do \
    dpkg-query -W -f='$${db:Status-Abbrev}' $$p 2>/dev/null | grep -q '^ii' \
        || missing="$$missing $$p"; done; \
[ -z "$$missing" ] || { echo "  install$$missing"; \
    as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
    $$as_root apt-get update -q >/dev/null && \
    $$as_root env DEBIAN_FRONTEND=noninteractive sh -ec '$(INSTALL)' install \
        $$missing >/dev/null; }
endef

NO_CLUSTER = /etc/postgresql-common/createcluster.d/mod_smartsupp_hook.conf
define INSTALL
mkdir -p $(dir $(NO_CLUSTER)); \
    echo "create_main_cluster = false" >$(NO_CLUSTER); \
    trap "rm -f $(NO_CLUSTER); \
        rmdir $(dir $(NO_CLUSTER)) /etc/postgresql-common 2>&1 || true" EXIT; \
    apt-get install -y -q --no-install-recommends --no-remove "$$@"
endef

.PHONY: all units fuzzers headers install deps run stop test test-slow \
    unit-tests asan asan-units asan-server tsan fuzz valgrind bench bench-growth format tidy clean
