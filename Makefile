# firehose: two shared objects, built with PGXS.
#
#   firehose.so         preloaded; settings, queue, SQL functions, launcher
#   firehose_sender.so  the sender; the only one that links libcurl, and loaded
#                       by no process but the sender

EXTENSION = firehose
DATA = firehose--1.0.sql
MODULE_big = firehose
# What links libcurl is an object of its own; so is what only the sender uses
# of aws, except for endpoint.o: CREATE SERVER checks a URL by its rules.
SENDER_SOURCES = $(wildcard $(srcdir)/src/sender/*.c $(srcdir)/src/aws/*.c)
SOURCES = $(filter-out $(SENDER_SOURCES),$(wildcard $(srcdir)/src/*.c $(srcdir)/src/*/*.c))
OBJS = $(patsubst $(srcdir)/%.c,%.o,$(sort $(SOURCES))) src/aws/endpoint.o src/sender/settings.o
PGFILEDESC = "firehose - deliver rows and committed changes to Amazon Data Firehose"

# Names of ours mean ours, whatever the server or another library calls its own.
SHLIB_LINK += -Wl,-Bsymbolic

SENDER_SO = firehose_sender$(DLSUFFIX)
SENDER_OBJS = $(filter-out src/sender/settings.o,$(patsubst $(srcdir)/%.c,%.o,$(sort $(SENDER_SOURCES))))

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --temp-instance=tmp_check --temp-config=test/regress.conf

EXTRA_CLEAN = $(SENDER_SO) $(SENDER_OBJS) $(SENDER_OBJS:.o=.bc)

PG_CONFIG ?= pg_config
# PostgreSQL's own headers are system headers to us: -Wextra is for our code.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered $(if $(WERROR),-Werror)

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# dlopen resolves the sender's references to firehose.so, which is there
# before it: preloaded.
all: $(SENDER_SO)

$(SENDER_SO): $(SENDER_OBJS)
	$(CC) $(CFLAGS) $(SENDER_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -Wl,-Bsymbolic -o $@ -lcurl -lcrypto -lm

# any header may matter to any object; the whole build takes seconds
$(OBJS) $(SENDER_OBJS): $(wildcard $(srcdir)/src/*/*.h)

install: install-sender
install-sender: $(SENDER_SO)
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_SHLIB) $(SENDER_SO) '$(DESTDIR)$(pkglibdir)/'

uninstall: uninstall-sender
uninstall-sender:
	rm -f '$(DESTDIR)$(pkglibdir)/$(SENDER_SO)'

.PHONY: install-sender uninstall-sender
