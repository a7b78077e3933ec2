# What the Makefiles of the tests' modules have in common, behind what each is
# made of: they are built against the extension's headers, and never installed.

PG_CONFIG ?= pg_config
override with_llvm := no
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -I$(srcdir)/../../../src \
	-include $(srcdir)/../../../src/common/exports.h
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered $(if $(WERROR),-Werror)

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# what is built elsewhere is not ours
override srcdir := $(srcdir)
override VPATH :=
vpath %.c $(srcdir)
