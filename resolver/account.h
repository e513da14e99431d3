/* Users and groups that usherd runs as, and letting go of root's rights. */
#ifndef USHER_ACCOUNT_H
#define USHER_ACCOUNT_H

#include <stdbool.h>
#include <sys/types.h>

struct account {
	const char *name;
	uid_t uid; /* (uid_t)-1: stay who we are */
	gid_t gid;
};

/*
 * The account called name. Where it does not exist: -ENOENT if the configuration named it (required), else 0
 * with uid -1. Not started as root: 0 with uid -1.
 */
int account_find(struct account *account, const char *name, bool required);

/* The group's id, or (gid_t)-1. */
gid_t account_group(const char *name);

/*
 * Becomes the account for good: supplementary groups, gid, uid, no capabilities but the one that is kept (-1:
 * none; permitted, not effective), no new privileges. 0 or negative errno.
 */
int account_become(const struct account *account, int kept);

/* Makes a folder and its parents (mode for the last one, whatever the umask) and gives it to the account. 0
 * or negative errno. */
int account_make_folder(const struct account *account, const char *path, mode_t mode);

#endif
