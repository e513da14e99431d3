#include "scope.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 256
#define MANAGERS "dsl"

static bool in_group(const gid_t *groups, int count, gid_t gid)
{
	for (int i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static bool is_in(const char *const *profiles, size_t count, const char *profile)
{
	for (size_t i = 0; i < count; i++)
		if (!profile || strcmp(profiles[i], profile) == 0)
			return true;
	return false;
}

static void add(const char **profiles, size_t *count, const char *profile)
{
	if (*count < CONFIG_PROFILES_MAX && !is_in(profiles, *count, profile))
		profiles[(*count)++] = profile;
}

static const struct group *usher_group(const char *suffix)
{
	char name[128];

	snprintf(name, sizeof name, "usher-%s", suffix);
	return getgrnam(name);
}

/* Whether the group usher-SUFFIX is among them. */
static bool in_usher_group(const gid_t *groups, int count, const char *suffix)
{
	const struct group *group = usher_group(suffix);

	return group && in_group(groups, count, group->gr_gid);
}

bool scope_lacks_group(const struct config_access *access, char text[SCOPE_TEXT_MAX])
{
	if (usher_group(access->group))
		return false;
	snprintf(text, SCOPE_TEXT_MAX,
	        "access.%.100s: found no group usher-%.100s on this machine, so nobody reads by it: "
	        "`groupadd "
	        "usher-%.100s`, or take the key away",
	        access->group, access->group, access->group);
	return true;
}

/* What an entry of `access` gives, if the person is in its group. */
static void scope_add(struct scope *scope, const struct config *config, const struct config_access *access,
        const gid_t *groups, int group_count)
{
	if (!in_usher_group(groups, group_count, access->group))
		return;
	scope->manages |= strcmp(access->group, MANAGERS) == 0;
	for (size_t i = 0; i < access->profile_count; i++) {
		const char *profile = config->profiles[access->profiles[i]].name;
		if (!access->counts_only)
			add(scope->profiles, &scope->count, profile);
		add(scope->counted, &scope->counted_count, profile);
	}
}

void scope_of(struct scope *scope, const struct config *config, uid_t uid)
{
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX;
	bool all = uid == 0 || uid == geteuid();

	*scope = (struct scope){ .all = all, .manages = all };
	if (all)
		return;
	const struct passwd *user = getpwuid(uid);
	if (!user || getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
		return;
	/* The socket may be open to everybody, from a time when there was `access`: it is not what decides.
	 */
	if (config->access_count == 0)
		scope->all = scope->manages = in_usher_group(groups, count, MANAGERS);
	for (size_t i = 0; i < config->access_count; i++)
		scope_add(scope, config, &config->access[i], groups, count);
}

void scope_apply(const struct scope *scope, struct block_filter *filter, bool counts_only)
{
	filter->profiles = scope->all ? NULL : counts_only ? scope->counted : scope->profiles;
	filter->profile_count = counts_only ? scope->counted_count : scope->count;
}

bool scope_allows(const struct scope *scope, const char *profile, bool counts_only)
{
	if (scope->all)
		return true;
	return counts_only ? is_in(scope->counted, scope->counted_count, profile)
	                   : is_in(scope->profiles, scope->count, profile);
}
