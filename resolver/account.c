#include "account.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

int account_find(struct account *account, const char *name, bool required)
{
	*account = (struct account){ .name = name, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	if (geteuid() != 0)
		return 0;
	const struct passwd *entry = getpwnam(name);
	if (entry == NULL)
		return required ? -ENOENT : 0;
	account->uid = entry->pw_uid;
	account->gid = entry->pw_gid;
	return 0;
}

gid_t account_group(const char *name)
{
	const struct group *entry = getgrnam(name);

	return entry != NULL ? entry->gr_gid : (gid_t)-1;
}

int account_become(const struct account *account, int kept)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (account->uid == (uid_t)-1)
		return 0;
	if (kept >= 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (initgroups(account->name, account->gid) < 0 ||
	        setresgid(account->gid, account->gid, account->gid) < 0 ||
	        setresuid(account->uid, account->uid, account->uid) < 0)
		return -errno;
	capng_clear(CAPNG_SELECT_BOTH);
	if (kept >= 0)
		capng_update(CAPNG_ADD, CAPNG_PERMITTED, (unsigned)kept);
	return capng_apply(CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

/* The service's umask is for files with what pupils asked for; the sockets' folder is everybody's to pass. */
static int make_as_said(const char *path, mode_t mode)
{
	return mkdir(path, mode) < 0 || chmod(path, mode) < 0 ? -errno : 0;
}

int account_make_folder(const struct account *account, const char *path, mode_t mode)
{
	char part[PATH_MAX];

	if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
		return -ENAMETOOLONG;
	for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int ret = make_as_said(part, 0755);
		if (ret < 0 && ret != -EEXIST)
			return ret;
		*slash = '/';
	}
	int ret = make_as_said(part, mode);
	if (ret < 0)
		return ret == -EEXIST ? 0 : ret; /* the administrator's own mode and owner stand */
	if (account->uid != (uid_t)-1 && lchown(part, account->uid, account->gid) < 0)
		return -errno;
	return 0;
}
