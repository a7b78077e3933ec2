# firehose: two shared objects, built with PGXS.
#
#   firehose.so         preloaded; settings, queue, SQL functions, launcher
#   firehose_sender.so  the sender; the only one that links libcurl and
#                       libdeflate, and loaded by no process but the sender

EXTENSION = firehose
DATA = firehose--1.0.sql
MODULE_big = firehose
# What links libcurl is an object of its own; so is what only the sender uses
# of aws, except for endpoint.o, role_arn.o and url.o: CREATE SERVER checks by
# them.
SENDER_SOURCES = $(wildcard $(srcdir)/src/sender/*.c $(srcdir)/src/aws/*.c)
SOURCES = $(filter-out $(SENDER_SOURCES),$(wildcard $(srcdir)/src/*.c $(srcdir)/src/*/*.c))
OBJS = $(patsubst $(srcdir)/%.c,%.o,$(sort $(SOURCES))) src/aws/endpoint.o \
	src/aws/role_arn.o src/aws/url.o src/sender/settings.o
PGFILEDESC = "firehose - deliver rows and committed changes to Amazon Data Firehose"

SENDER_SO = firehose_sender$(DLSUFFIX)
SENDER_OBJS = $(filter-out src/sender/settings.o,$(patsubst $(srcdir)/%.c,%.o,$(sort $(SENDER_SOURCES))))

# installcheck starts a server of its own, of what is installed: the library has
# to be preloaded.  Some tests look at formats and at the queue with a module.
REGRESS = $(patsubst $(srcdir)/sql/%.sql,%,$(sort $(wildcard $(srcdir)/sql/*.sql)))
REGRESS_MODULE = test/modules/firehose_format_test
REGRESS_OPTS = --temp-instance=tmp_check --temp-config=$(srcdir)/test/regress.conf \
	--dlpath=$(REGRESS_MODULE)
REGRESS_PREP = regress-module
ENCODING = UTF8
NO_LOCALE = 1

EXTRA_CLEAN = $(SENDER_SO) $(SENDER_OBJS) \
	$(wildcard test/modules/*/*.o test/modules/*/*.so)

PG_CONFIG ?= pg_config
# bitcode is for inlining small functions into queries, which none of ours is
# worth, and what it calls of ours is not exported
override with_llvm := no
# What the two libraries must agree on: the version, and all headers.
FIREHOSE_VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(srcdir)/firehose.control)
FIREHOSE_BUILD = $(FIREHOSE_VERSION)-$(shell cat $(sort $(wildcard $(srcdir)/src/*/*.h)) | cksum | cut -d' ' -f1)
# PostgreSQL's own headers are system headers to us: -Wextra is for our code.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -I$(srcdir)/src \
	-include $(srcdir)/src/common/exports.h -DFIREHOSE_BUILD='"$(FIREHOSE_BUILD)"' \
	-DFIREHOSE_VERSION='"$(FIREHOSE_VERSION)"'
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered $(if $(WERROR),-Werror)

# Our own names are ours, whatever else is loaded, and others do not see them.
EXPORTS = $(srcdir)/src/common/exports.map
LINK_OWN = -Wl,-Bsymbolic -Wl,--version-script=$(EXPORTS)
SHLIB_LINK = $(LINK_OWN)

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error PG_CONFIG=$(PG_CONFIG) is no pg_config of a server with its headers)
endif
include $(PGXS)

# In a VPATH build only sources come from the source tree: what was built there
# is for others.
override srcdir := $(patsubst %/,%,$(srcdir))
override VPATH :=
vpath %.c $(srcdir)
vpath %.control $(srcdir)

CONTRIB_TESTDB = regression

# dlopen resolves the sender's references to firehose.so, which is there
# before it: preloaded.
all: $(SENDER_SO)

$(shlib) $(SENDER_SO): $(EXPORTS)
$(SENDER_SO): $(SENDER_OBJS)
	$(CC) $(CFLAGS) $(SENDER_OBJS) $(LDFLAGS) $(LDFLAGS_SL) $(LINK_OWN) -shared -o $@ -lcurl -lssl -lcrypto -ldeflate -lm

# a VPATH build starts in an empty directory
ALL_OBJS = $(sort $(OBJS) $(SENDER_OBJS))
$(ALL_OBJS): | folders
folders:
	@$(MKDIR_P) $(sort $(dir $(ALL_OBJS)))

# any header may matter to any object; the whole build takes seconds
$(ALL_OBJS): $(wildcard $(srcdir)/src/*/*.h)

install: install-sender
install-sender: $(SENDER_SO)
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_SHLIB) $(SENDER_SO) '$(DESTDIR)$(pkglibdir)/'

uninstall: uninstall-sender
uninstall-sender:
	rm -f '$(DESTDIR)$(pkglibdir)/$(SENDER_SO)'

regress-module:
	@[ "$$(id -u)" -ne 0 ] || { echo "installcheck starts a server, which root may not: \
	run it as another user who can write here, for instance postgres" >&2; exit 1; }
	$(MKDIR_P) $(REGRESS_MODULE)
	$(MAKE) -C $(REGRESS_MODULE) -f $(abspath $(srcdir))/$(REGRESS_MODULE)/Makefile \
		VPATH=$(abspath $(srcdir))/$(REGRESS_MODULE) PG_CONFIG='$(PG_CONFIG)'

# what PGXN takes: the committed files, under the version of META.json
DISTRIBUTION = firehose-$(shell sed -nE '/"provides"/q; s/^ *"version": "(.*)",/\1/p' $(srcdir)/META.json)
dist:
	git -C $(srcdir) archive --format=zip --prefix=$(DISTRIBUTION)/ \
		--output=$(CURDIR)/$(DISTRIBUTION).zip HEAD

.PHONY: folders install-sender uninstall-sender regress-module dist
