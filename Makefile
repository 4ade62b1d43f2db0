# mod_smartsupp_hook: README.md says what each target does for its user.

BUILD = build
APXS = $(shell command -v apxs || command -v apxs2)
PROVE_FLAGS = -j2

# Debian and Ubuntu names; README.md has those of other distributions.
BUILD_PACKAGES = gcc libc6-dev perl apache2-bin apache2-dev libcjson-dev \
    libssl-dev libaprutil1-dbd-sqlite3
RUN_PACKAGES = curl sqlite3
TEST_PACKAGES = curl libdbi-perl libdbd-sqlite3-perl
SLOW_PACKAGES = valgrind
CODE_PACKAGES = clang-format clang-tidy

WARNINGS = -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wconversion
ifeq ($(CI),true)
WARNINGS += -Werror
endif

SOURCES = $(wildcard mod_smartsupp_hook/*.c)
HEADERS = $(wildcard mod_smartsupp_hook/*.h)
# The two storeys: mod_smartsupp_* know httpd, smartsupp_* only APR.
LOWER = $(filter mod_smartsupp_hook/smartsupp_%,$(SOURCES))
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)
LOWER_OBJECTS = $(LOWER:%.c=$(BUILD)/%.o)
MODULE = $(BUILD)/mod_smartsupp_hook.la
MODULE_SO = $(BUILD)/.libs/mod_smartsupp_hook.so
UNITS = $(patsubst t/unit/%.c,$(BUILD)/unit/%,$(wildcard t/unit/*.c))
LIBRARIES = -lcjson -lcrypto

all: $(MODULE)

# What apxs and APR say of this machine. Make restarts once it is written, so
# that a missing compiler or apxs is installed before anything is built.
ifneq ($(filter-out deps clean stop format,$(or $(MAKECMDGOALS),all)),)
include $(BUILD)/config.mk
endif

$(BUILD)/config.mk: Makefile
	@mkdir -p $(@D)
	$(call install_missing,$(BUILD_PACKAGES))
	@apxs=$(APXS); { \
	    echo "APR_FLAGS = $$($$($$apxs -q APR_CONFIG) --cppflags --includes)" \
	        "$$($$($$apxs -q APU_CONFIG) --includes)"; \
	    echo "APR_LIBRARIES = $$($$($$apxs -q APU_CONFIG) --link-ld)" \
	        "$$($$($$apxs -q APR_CONFIG) --link-ld)"; \
	    echo "HTTPD_CC = $$($$apxs -q CC)"; \
	    echo "HTTPD_CFLAGS = $$($$apxs -q CFLAGS)"; \
	    echo "HTTPD_INCLUDE = $$($$apxs -q INCLUDEDIR)"; \
	} >$@.tmp
	@mv $@.tmp $@

ifneq ($(origin CC),default)
HTTPD_CC = $(CC)
endif
COMPILE = $(HTTPD_CC) -std=c99 -fPIC $(HTTPD_CFLAGS) $(WARNINGS) \
    $(SANITIZE) $(APR_FLAGS) $(CFLAGS)

$(LOWER_OBJECTS): $(BUILD)/%.o: %.c $(HEADERS) $(BUILD)/config.mk
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

$(BUILD)/mod_smartsupp_hook/mod_%.o: mod_smartsupp_hook/mod_%.c $(HEADERS) \
    $(BUILD)/config.mk
	@mkdir -p $(@D)
	$(COMPILE) -isystem $(HTTPD_INCLUDE) -c -o $@ $<

# APR loads modules RTLD_GLOBAL: only the module record may be seen.
$(MODULE): $(OBJECTS)
	$(APXS) -c -o $@ -Wl,-export-symbols-regex \
	    -Wl,'^smartsupp_hook_module$$' $(OBJECTS) $(LIBRARIES)

$(BUILD)/unit/%: t/unit/%.c t/unit/tap.h $(LOWER_OBJECTS)
	@mkdir -p $(@D)
	$(COMPILE) -Imod_smartsupp_hook -o $@ $< $(LOWER_OBJECTS) \
	    $(LIBRARIES) $(APR_LIBRARIES) -lpthread

units: $(UNITS)

clean:
	rm -rf $(BUILD)

# The packages of $(1) that this machine lacks. Installs no service.
define install_missing
@command -v dpkg-query >/dev/null || exit 0; missing=; for p in $(1); do \
    dpkg-query -W -f='$${db:Status-Abbrev}' $$p 2>/dev/null | grep -q '^ii' \
        || missing="$$missing $$p"; done; \
[ -z "$$missing" ] || { echo "installing$$missing"; \
    as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
    $$as_root apt-get update -q >/dev/null && \
    $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends $$missing >/dev/null; }
endef

.PHONY: all units clean
