/*
 * The files of the block log: one LMDB environment a UTC day and retention class, DIR/2026-11-22-90d.mdb, with its lock file
 * beside it (.mdb-lock); 2026-11-22-90d-r2.mdb where it was written anew without some rows (the highest counts, with a lock file of its
 * own); 2026-11-22-case7.mdb, rows that are held for case 7, copies of what is or was in the others (-case7-r2: more of them, held later); and .mdb.damaged (.mdb.damaged.1, …) where one had to be moved aside. The key table stands at the head of block_file.c.
 */
#ifndef USHER_BLOCK_FILE_H
#define USHER_BLOCK_FILE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_FILE_NAME_MAX 64
#define BLOCK_DAY_S 86400
#define BLOCK_DAMAGED_RING_KEEP_S (7 * BLOCK_DAY_S)

enum block_file_kind { BLOCK_FILE_STORE, BLOCK_FILE_LOCK, BLOCK_FILE_DAMAGED };

struct block_file {
	int64_t day;                    /* since 1970, UTC */
	uint32_t keep_s;                /* of a case: UINT32_MAX */
	uint32_t revision, hold;        /* 0: as it was begun; 0: no case's */
	enum block_file_kind kind;
	uint64_t size;
	int64_t written_us;             /* last change */
	char name[BLOCK_FILE_NAME_MAX];
};

int64_t block_file_day(int64_t time_us); /* also before 1970 */
/* Writes file->name from the rest. */
void block_file_set_name(struct block_file *file);

/* All files of dir, newest day first; *files is malloc()ed. Other files are passed over. Returns 0 or negative errno. */
int block_file_list(const char *dir, struct block_file **files, size_t *count);

/* The same, only the stores that count: all those of cases, and of each day and class the highest revision. */
int block_file_list_current(const char *dir, struct block_file **files, size_t *count);

/* False if a store among files has the same day and class and a higher revision; those of cases all are. */
bool block_file_is_current(const struct block_file *file, const struct block_file *files, size_t count);

/* The highest revision of a day and class, 0 where there is none. */
uint32_t block_file_revision(const char *dir, int64_t day, uint32_t keep_s);

/* When its last event was at the latest: a clock that was not set yet gives a day long past to new events, and one that was wrong a day to come. */
int64_t block_file_end_s(const struct block_file *file, int64_t today);

/* Renames and unlinks in dir are on disk. */
int block_file_sync_folder(const char *dir);

/* Unlinks rings that were moved aside (ring-*.damaged, see ring.h) before that time: they hold events too. */
void block_file_forget_rings(const char *dir, int64_t before_s);

/*
 * Opens the environment name in dir, mode 0600, and its one database. What LMDB would reach through a map is there then: a file that is
 * shorter than its pages is MDB_CORRUPTED, a disk without room for a new one ENOSPC. Returns 0 or an LMDB result (see block_file_error).
 */
int block_file_open(MDB_env **env, MDB_dbi *dbi, const char *dir, const char *name, unsigned flags, size_t map_size);

/* Whether the file is as long as its pages in use, *len octets. */
bool block_file_covers_pages(MDB_env *env, uint64_t *len);

/* 0 or negative errno from an LMDB result; -EBADMSG where the file is damaged or foreign. */
int block_file_error(int ret);

/* A read transaction; a map that the writer made larger is mapped anew. Returns an LMDB result. */
int block_file_read(MDB_env *env, MDB_txn **txn);

/* What a key names. */
enum block_key { BLOCK_KEY_DATA = 'd', BLOCK_KEY_GROUP = 'g', BLOCK_KEY_RING = 'r', BLOCK_KEY_SUMMARY = 's' };
#define BLOCK_KEY_LEN 9
bool block_file_key_is(const MDB_val *key, enum block_key kind);
MDB_val block_file_key(uint8_t octets[BLOCK_KEY_LEN], enum block_key kind, uint64_t number);
uint64_t block_file_key_number(const MDB_val *key); /* key is one of ours */

/*
 * Places the cursor on the last key of a kind whose number is at most that one, or if there is none on the first of that kind. Returns an LMDB
 * result, MDB_NOTFOUND where there is none of the kind.
 */
int block_file_seek(MDB_cursor *cursor, enum block_key kind, uint64_t number, MDB_val *key, MDB_val *value);

/* The newest segment's summary; valid in the transaction. Returns an LMDB result, MDB_NOTFOUND where there is none. */
int block_file_newest(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *summary);

#endif
