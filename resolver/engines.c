#include "engines.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "blocklists/manifest.h"

_Static_assert(sizeof(uint64_t) * 8 >= 64, "safe-search has at most 64 engines");

static int engines_path(const struct config *config, char path[PATH_MAX])
{
	int len = snprintf(path, PATH_MAX, "%s/engines.json", config->state_dir);

	return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static uint64_t engine_bit(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->engine_count; i++)
		if (strcmp(config->engines[i].name, name) == 0)
			return UINT64_C(1) << i;
	return 0;
}

int engines_read(const struct config *config, uint64_t *failed)
{
	char path[PATH_MAX];
	json_t *file = NULL, *name;
	size_t i;

	*failed = 0;
	int ret = engines_path(config, path);
	if (ret == 0)
		ret = manifest_read(path, &file);
	json_array_foreach(json_object_get(file, "failed"), i, name) if (json_is_string(name)) *failed |=
	        engine_bit(config, json_string_value(name));
	json_decref(file);
	return ret == -ENOENT ? 0 : ret;
}

int engines_write(const struct config *config, uint64_t failed)
{
	char path[PATH_MAX];
	json_t *names = json_array(), *file = json_object();

	for (size_t i = 0; i < config->engine_count; i++)
		if (failed >> i & 1)
			json_array_append_new(names, json_string(config->engines[i].name));
	int ret = json_object_set_new(file, "failed", names) == 0 ? engines_path(config, path) : -ENOMEM;
	if (ret == 0)
		ret = manifest_write(path, file);
	json_decref(file);
	return ret;
}
