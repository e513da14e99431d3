/*
 * A selftest: what a running usherd gives each profile, beside what it should. Cases come from the
 * configuration, the lists that are current and the safe-search table; answers from usherd itself, by the
 * door of resolver/probe.h.
 */
#ifndef USHER_SELFTEST_H
#define USHER_SELFTEST_H

#include <jansson.h>

#include "commands.h"

enum selftest_want {
	WANT_BLOCK,   /* blocked by policy: EDE 15 or 16 (RFC 8914) */
	WANT_PASS,    /* resolves */
	WANT_OPEN,    /* not blocked; whether it exists is its owner's business */
	WANT_REWRITE, /* an alias to, or the addresses of, the engine's safe search */
	WANT_NOTHING, /* a canary: no such name, or no data */
	WANT_HIDDEN,  /* an internal name for who may not see it: EDE 18 */
	WANT_SAFE,    /* an engine's safe name: resolves, and not to where the engine itself is */
};

struct selftest_case {
	enum selftest_want want;
	const char *profile; /* the configuration's; NULL: of all */
	uint8_t client[16];
	char name[NAME_TEXT_MAX];
	const char *subject; /* category, engine, or what sort of name it is */
	int engine;          /* WANT_REWRITE, WANT_SAFE: index; else -1 */
	/* what came of it */
	bool passed;
	char found[256];
};

struct selftest {
	const struct config *config;
	struct selftest_case *cases;
	size_t count, passed;
	/* what cannot be tested is told: "guest: no source feeds phishing" */
	char (*notes)[1200];
	size_t note_count;
	uint64_t engines_failed; /* bits: their safe name does not exist or is no other than theirs */
	int64_t time_s;
};

/* Fills in the cases. Returns 0, or negative errno after saying why. */
int selftest_plan(struct selftest *selftest, const struct config *config);
void selftest_clear(struct selftest *selftest);

/* Asks usherd. Returns 0, or negative errno after saying why usherd can't be asked. */
int selftest_ask(struct selftest *selftest);

/* What is wanted, as words: "blocked". */
const char *selftest_want_text(enum selftest_want want);

#endif
