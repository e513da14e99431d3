/*
 * One source's content, read: from the file that was fetched (or the built-in starter text) to sorted claims
 * and an account of every entry. Says what it found; whether that is good enough to be published is update's
 * to judge.
 */
#ifndef USHER_SOURCE_H
#define USHER_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "claims.h"
#include "lists.h"
#include "parse.h"
#include "tsig.h"

#define SOURCE_SAMPLES 5
#define SOURCE_FOLDERS_MAX 200

struct source_mapping {
	const char *folder; /* of a UT1 tree */
	unsigned category;
};

/* Names that no list may block: such an entry is left out and counted (PARSE_PROTECTED). */
struct source_guard {
	struct name name;
	bool below; /* nor what lies below (a zone of the school's) */
	bool own;   /* the school's own zone, or a target of safe search: no honest list names it */
};

struct source {
	const char *name;
	const char *url;
	const char *licence;   /* "": unknown */
	const char *sha256;    /* "": any content; else only this */
	const char *key;       /* minisign's public key that must have signed it; "" or NULL: unsigned */
	const char *signature; /* URL of the signature; "" or NULL: url + ".minisig" */
	struct tsig_key tsig;  /* a zone's transfer is signed with it */
	enum parse_format format;
	int category; /* -1: none of its own */
	const struct source_mapping *map;
	size_t map_count;
	const struct name *must_block, *must_pass; /* canaries: what it must list, and what it must not */
	size_t must_block_count, must_pass_count;
};

/* read is the sum of taken, duplicate, covered and skipped. */
struct source_counts {
	uint64_t read;      /* names found in it, and lines that hold none where one should be */
	uint64_t taken;     /* different names that the source adds */
	uint64_t duplicate; /* named again */
	uint64_t covered;   /* below a name of the same source and categories */
	uint64_t skipped[PARSE_REASON_COUNT];
	uint64_t own;    /* of those skipped as protected: the school's own zones, targets of safe search */
	uint64_t shared; /* of those read: below them many owners have names (PARSE_SHARED) */
	uint64_t category[LISTS_CATEGORIES_MAX]; /* taken, by category */
	struct source_sample {
		uint64_t line;
		enum parse_reason reason;
		char entry[64];    /* of an archive: which file */
	} samples[SOURCE_SAMPLES]; /* the first lines that were skipped as broken */
	unsigned sample_count;
};

/* Folders of a UT1 tree, by name. */
struct source_folders {
	char *name[SOURCE_FOLDERS_MAX];
	size_t count;
};

struct source_content {
	struct claims *claims;
	struct source_counts counts;
	enum parse_format format;          /* as found */
	struct source_folders ignored;     /* in the tree, but not mapped by the configuration */
	struct source_folders missing;     /* mapped, but not in the tree */
	char forbidden[2 * NAME_TEXT_MAX]; /* the first entry left out for a guard, in words; "" if none */
	char own[2 * NAME_TEXT_MAX];       /* the first of counts.own, in words */
	char shared[NAME_TEXT_MAX];        /* the first of counts.shared */
};

struct source_reading {
	const char *work; /* folder for files without names */
	size_t memory;    /* octets for sorting, 0: 64 MiB */
	const struct source_guard *guards;
	size_t guard_count;
	uint64_t sealed; /* categories that may block even those */
};

/*
 * Reads the file at path as source says. Returns 0 with content filled (release with source_content_clear),
 * -EBADMSG if this is no list (HTML, empty, binary, a bad archive), or another negative errno; then `why`
 * says so and content is clear.
 */
int source_read(const struct source *source, const char *path, const struct source_reading *reading,
        struct source_content *content, char why[LISTS_WHY_MAX]);

/* The same from the starter list: `[category]` lines, then one name a line, # comments. */
int source_read_starter(const char *text, size_t len, const char *const *categories, size_t category_count,
        const struct source_reading *reading, struct source_content *content, char why[LISTS_WHY_MAX]);

void source_content_clear(struct source_content *content);

#endif
