/* What one key says of another. Problems name the place in the file, by walking its tree beside the
 * configuration. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocklists/zone.h"
#include "address.h"
#include "builtin.h"
#include "config_option.h"
#include "config_value.h"
#include "leases.h"

#define RULES_MAX 60000 /* allow-names and block-names of all profiles: rules are numbered in 16 bits */
#define STARTER "starter"

/* Child number index of a list or map, or NULL. */
static const struct config_node *child_at(const struct config_node *node, size_t index)
{
	const struct config_node *child = node == NULL ? NULL : node->first;

	while (child != NULL && index-- > 0)
		child = child->next;
	return child;
}

/* A problem at a path that the caller writes out. */
#define PROBLEM(reader, node, ...)                                                                           \
	config_problem(&(reader)->tree->problems, (node)->file, (node)->line, __VA_ARGS__)

/* ---- categories ---- */

void config_missing_add(char missing[CONFIG_MISSING_MAX], const char *name)
{
	size_t len = strlen(missing);

	snprintf(missing + len, CONFIG_MISSING_MAX - len, "%s%s", len > 0 ? ", " : "", name);
}

static bool says_true(const struct config_node *node)
{
	return node != NULL && node->type == NODE_SCALAR &&
	       (strcmp(node->text, "true") == 0 || strcmp(node->text, "yes") == 0 ||
	               strcmp(node->text, "on") == 0);
}

static const struct config_node *row_named(const struct config_node *rows, const char *name, size_t *index)
{
	*index = 0;
	for (const struct config_node *row = rows->first; row != NULL; row = row->next, ++*index) {
		const struct config_node *given = config_node_find(row, "name");
		if (given != NULL && given->type == NODE_SCALAR && strcmp(given->text, name) == 0)
			return row;
	}
	return NULL;
}

void config_check_sealed(struct config_reader *reader, const struct config_node *builtin)
{
	struct config_node *rows = config_node_find(reader->tree->root, "categories"), *next;
	size_t index;

	if (builtin == NULL || rows == NULL || rows->type != NODE_LIST || rows->count > CONFIG_CATEGORIES_MAX)
		return;
	if (rows->count == 0)
		PROBLEM(reader, rows,
		        "categories: found none, expected at least one; without the key there are the "
		        "built-in "
		        "ones");
	for (struct config_node *sealed = builtin->first; sealed != NULL; sealed = next) {
		next = sealed->next;
		if (!says_true(config_node_find(sealed, "sealed")))
			continue;
		const char *name = config_node_find(sealed, "name")->text;
		const struct config_node *row = row_named(rows, name, &index);
		if (row != NULL && !says_true(config_node_find(row, "sealed")))
			PROBLEM(reader, row,
			        "categories[%zu].sealed: found '%s' without it, expected sealed: true", index,
			        name);
		else if (row == NULL && rows->count == CONFIG_CATEGORIES_MAX)
			PROBLEM(reader, rows,
			        "categories: found no room for '%s', which is always there, expected at most "
			        "%d with it",
			        name, CONFIG_CATEGORIES_MAX);
		else if (row == NULL)
			config_node_append(rows, sealed);
	}
}

/* A file's own categories stand instead of the built-in ones, and the starter list fills those it knows. */
static void check_starter(struct config_reader *reader)
{
	const struct builtin_file *file = builtin_file("starter.txt");
	char missing[CONFIG_MISSING_MAX] = "", name[64];

	if (!reader->config->starter || file == NULL)
		return;
	for (const char *line = file->text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "[%63[^]\n]]", name) == 1 && config_category(reader->config, name) < 0)
			config_missing_add(missing, name);
	}
	if (missing[0] == '\0')
		return;
	size_t mark = config_path_push(reader, "categories");
	config_warn(reader, config_node_find(reader->tree->root, "categories"),
	        "the starter list's names filter nothing of %s: there is no such category", missing);
	config_path_pop(reader, mark);
}

static void check_categories(struct config_reader *reader)
{
	struct config *config = reader->config;
	const struct config_node *row = config_node_find(reader->tree->root, "categories");

	row = row == NULL ? NULL : row->first;
	for (size_t i = 0; i < config->category_count; i++, row = row->next) {
		const struct config_category *category = config->categories + i;
		config->sealed |= (uint64_t)category->sealed << i;
		config->danger |= (uint64_t)(category->severity == SEVERITY_DANGER) << i;
		bool known = category->uksic[0] == '\0';
		for (size_t k = 0; k < config->uksic_count && !known; k++)
			known = strcmp(config->uksic[k].row, category->uksic) == 0;
		if (known)
			continue;
		size_t mark = config_path_push(reader, "categories");
		config_path_index(reader, i);
		config_warn(reader, row, "'%s' is no row of uksic, so `usher lists coverage` leaves it out",
		        category->uksic);
		config_path_pop(reader, mark);
	}
}

/* What a zone's transfer needs, and what only it can have. */
static void check_zone_source(struct config_reader *reader, size_t i, const struct config_source *source,
        const struct config_node *node)
{
	bool is_zone = zone_is_url(source->url);

	if (is_zone && strcmp(source->format, "auto") != 0 && strcmp(source->format, "rpz") != 0)
		PROBLEM(reader, node, "lists.sources[%zu].format: found %s, expected rpz for a url axfr://",
		        i, source->format);
	if (is_zone && source->key[0] != '\0')
		PROBLEM(reader, node, "lists.sources[%zu].key: found one, expected tsig for a url axfr://",
		        i);
	if (!is_zone && source->tsig.name[0] != '\0')
		PROBLEM(reader, node,
		        "lists.sources[%zu].tsig: found one, expected it with a url axfr:// alone", i);
	if ((source->tsig.name[0] != '\0') != (source->tsig.secret[0] != '\0'))
		PROBLEM(reader, node, "lists.sources[%zu].tsig: found %s, expected both name and secret", i,
		        source->tsig.name[0] != '\0' ? "a name alone" : "a secret alone");
}

static void check_sources(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *sources =
	        config_node_find(config_node_find(reader->tree->root, "lists"), "sources");

	for (size_t i = 0; i < config->source_count; i++) {
		const struct config_source *source = config->sources + i;
		const struct config_node *node = child_at(sources, i);
		bool has_map = source->map_count > 0, is_ut1 = strcmp(source->format, "ut1") == 0;
		if (has_map && !is_ut1 && strcmp(source->format, "auto") != 0)
			PROBLEM(reader, node,
			        "lists.sources[%zu].map: found with format %s, expected with format ut1", i,
			        source->format);
		if (has_map == (source->category >= 0))
			PROBLEM(reader, node, "lists.sources[%zu]: found %s, expected %s", i,
			        has_map ? "category and map" : "neither category nor map",
			        has_map  ? "one of them"
			        : is_ut1 ? "map: {folder: category}"
			                 : "category");
		check_zone_source(reader, i, source, node);
		if (strcmp(source->name, STARTER) == 0)
			PROBLEM(reader, node,
			        "lists.sources[%zu].name: found '%s', expected another: it is the shipped "
			        "list's",
			        i, STARTER);
	}
	if (config->source_count == 0 && config->pull[0] == '\0')
		config_warn(reader, NULL, "lists.sources has none: %s",
		        config->starter ? "only the shipped starter list filters"
		                        : "with starter: false no category filters anything");
}

/* ---- profiles ---- */

static bool network_holds(const struct config_network *outer, const struct config_network *inner)
{
	return outer->length <= inner->length && address_is_in(inner->address, outer);
}

/* IPv6 that takes in ::ffff:0:0/96, which stands for IPv4. */
static bool holds_ipv4_too(const struct config_network *network)
{
	struct config_network all = { .length = 96 };

	all.address[10] = all.address[11] = 0xff;
	return network->length < 96 && network_holds(network, &all);
}

/* A profile's network and where it was written. */
struct place {
	const struct config_network *network;
	const struct config_node *node;
	size_t profile, index;
};

static int place_compare(const void *a, const void *b)
{
	const struct place *left = a, *right = b;
	int order = memcmp(left->network->address, right->network->address, sizeof left->network->address);

	if (order == 0)
		order = (int)left->network->length - (int)right->network->length;
	if (order == 0)
		order = left->profile != right->profile ? (left->profile < right->profile ? -1 : 1)
		                                        : (left->index < right->index ? -1 : 1);
	return order;
}

static void check_same_networks(struct config_reader *reader, struct place *places, size_t count)
{
	const struct config_profile *profiles = reader->config->profiles;
	char text[INET6_ADDRSTRLEN + 4];

	qsort(places, count, sizeof *places, place_compare);
	for (size_t i = 1; i < count; i++) {
		const struct place *one = places + i - 1, *two = places + i;
		if (one->network->length != two->network->length ||
		        memcmp(one->network->address, two->network->address, sizeof one->network->address) !=
		                0)
			continue;
		config_network_text(two->network, text);
		PROBLEM(reader, two->node,
		        "profiles[%zu].networks[%zu]: found '%s' for '%s', expected a network of its own: "
		        "%s:%u gives it to '%s'",
		        two->profile, two->index, text, profiles[two->profile].name, one->node->file,
		        one->node->line, profiles[one->profile].name);
	}
}

static void check_served(struct config_reader *reader, const struct place *place)
{
	const struct config *config = reader->config;
	const struct config_network *network = place->network;
	bool served = false;
	char text[INET6_ADDRSTRLEN + 4];

	for (size_t i = 0; i < config->serve_count && !served; i++)
		served = network_holds(config->serve + i, network);
	if (served && !holds_ipv4_too(network))
		return;
	config_network_text(network, text);
	size_t mark = config_path_push(reader, "profiles");
	config_path_index(reader, place->profile);
	config_path_push(reader, "networks");
	config_path_index(reader, place->index);
	if (!served)
		config_warn(
		        reader, place->node, "%s is not in serve: clients outside serve are refused", text);
	else
		config_warn(reader, place->node, "%s takes in all IPv4 clients too", text);
	config_path_pop(reader, mark);
}

static void check_networks(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *node = config_node_find(reader->tree->root, "profiles");
	size_t count = 0, at = 0;

	for (size_t i = 0; i < config->profile_count; i++)
		count += config->profiles[i].network_count;
	struct place *places = calloc(count + 1, sizeof *places);
	if (places == NULL) {
		reader->tree->no_memory = true;
		return;
	}
	node = node->first;
	for (size_t i = 0; i < config->profile_count; i++, node = node->next) {
		const struct config_node *networks = config_node_find(node, "networks");
		const struct config_node *item = networks == NULL ? NULL : networks->first;
		for (size_t k = 0; k < config->profiles[i].network_count; k++, item = item->next) {
			places[at] = (struct place){ config->profiles[i].networks + k, item, i, k };
			check_served(reader, places + at++);
		}
	}
	check_same_networks(reader, places, count);
	free(places);
}

/* Over midnight is `to` before `from`, so the same time twice would be the whole day, where none was meant.
 */
static void check_periods(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *periods = config_node_find(reader->tree->root, "periods");
	char text[CONFIG_VALUE_TEXT_MAX];

	for (size_t i = 0; i < config->period_count; i++) {
		const struct config_period *period = config->periods + i;
		if (period->from_min != period->to_min)
			continue;
		config_time_text(period->to_min, text);
		PROBLEM(reader, child_at(periods, i),
		        "periods.%s.to: found '%s', which is `from` too, expected a later time, an earlier "
		        "one "
		        "(over midnight), or from \"00:00\" to \"24:00\" for the whole day",
		        period->name, text);
	}
}

/* Right, but seldom meant: what is blocked is nearly nothing. */
static void check_blocks(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *profiles = config_node_find(reader->tree->root, "profiles");

	for (size_t i = 0; i < config->profile_count; i++) {
		const struct config_profile *profile = config->profiles + i;
		if ((profile->block & ~config->sealed) != 0 || profile->default_block)
			continue;
		size_t mark = config_path_push(reader, "profiles");
		config_path_index(reader, i);
		config_path_push(reader, "block");
		config_warn(reader, child_at(profiles, i), "'%s' blocks no category but the sealed ones",
		        profile->name);
		config_path_pop(reader, mark);
	}
}

struct device_place {
	const struct config_device *device;
	size_t profile;
};

static int device_compare(const void *left, const void *right)
{
	const struct device_place *a = left, *b = right;
	int order = memcmp(a->device->mac, b->device->mac, sizeof a->device->mac);

	return order != 0 ? order : a->profile < b->profile ? -1 : a->profile > b->profile;
}

/* A device has one profile. */
static void check_devices(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *profiles = config_node_find(reader->tree->root, "profiles");
	size_t count = 0, at = 0;
	char text[18];

	for (size_t i = 0; i < config->profile_count; i++)
		count += config->profiles[i].device_count;
	struct device_place *places = calloc(count + 1, sizeof *places);
	if (places == NULL) {
		reader->tree->no_memory = true;
		return;
	}
	for (size_t i = 0; i < config->profile_count; i++)
		for (size_t k = 0; k < config->profiles[i].device_count; k++)
			places[at++] = (struct device_place){ &config->profiles[i].devices[k], i };
	qsort(places, count, sizeof *places, device_compare);
	for (size_t i = 1; i < count; i++) {
		if (memcmp(places[i].device->mac, places[i - 1].device->mac, 6) != 0)
			continue;
		lease_mac_text(places[i].device->mac, text);
		PROBLEM(reader, child_at(profiles, places[i].profile),
		        "profiles[%zu].devices: found %s a second time, expected once: %s has it already",
		        places[i].profile, text, config->profiles[places[i - 1].profile].name);
	}
	free(places);
}

static void check_profiles(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *profiles = config_node_find(reader->tree->root, "profiles");
	size_t rules = 0;

	for (size_t i = 0; i < config->profile_count; i++) {
		const struct config_profile *profile = config->profiles + i;
		const struct config_node *periods = config_node_find(child_at(profiles, i), "periods");
		rules += profile->allow_count + profile->block_count;
		for (size_t k = 0; k < profile->period_count; k++) {
			uint64_t sealed = profile->periods[k].unblock & config->sealed;
			const struct config_node *node = child_at(periods, k);
			if (sealed != 0)
				PROBLEM(reader, node,
				        "profiles[%zu].periods.%s.unblock: found '%s', expected categories "
				        "that are not sealed",
				        i, node->key, config->categories[__builtin_ctzll(sealed)].name);
		}
	}
	if (rules > RULES_MAX)
		PROBLEM(reader, profiles,
		        "profiles: found %zu names in allow-names and block-names, expected at most %d: use "
		        "a list",
		        rules, RULES_MAX);
}

/* ---- names and servers ---- */

/* SO_REUSEPORT would let us share the port with ourselves, in silence. */
static void check_listen(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *listen = config_node_find(reader->tree->root, "listen");

	for (size_t i = 0; i < config->listen_count; i++)
		for (size_t k = 0; k < i; k++) {
			if (config->listen[i].socket_len != config->listen[k].socket_len ||
			        memcmp(&config->listen[i].socket, &config->listen[k].socket,
			                config->listen[i].socket_len) != 0)
				continue;
			const struct config_node *node = child_at(listen, i), *other = child_at(listen, k);
			PROBLEM(reader, node,
			        "listen[%zu]: found '%s' a second time, expected once: %s:%u has it already",
			        i, config->listen[i].text, other->file, other->line);
			break;
		}
}

static void check_engines(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *engines = config_node_find(reader->tree->root, "safe-search");

	for (size_t i = 0; i < config->engine_count; i++) {
		struct config_engine *engine = config->engines + i;
		const struct config_node *node = child_at(engines, i);
		bool has_addresses = engine->v4_count + engine->v6_count > 0;
		engine->has_levels = engine->target_moderate.len > 0;
		if (has_addresses == (engine->target.len > 0) || (engine->has_levels && has_addresses))
			PROBLEM(reader, node, "safe-search[%zu]: found %s, expected a target or addresses", i,
			        has_addresses ? "both" : "neither");
	}
	for (size_t i = 0; i < config->profile_count && config->engine_count == 0; i++) {
		if (!config->profiles[i].safe_search)
			continue;
		size_t mark = config_path_push(reader, "safe-search");
		config_warn(reader, engines, "there is no engine, so profile '%s' gets all of them unsafe",
		        config->profiles[i].name);
		config_path_pop(reader, mark);
		break;
	}
}

static void check_canaries(struct config_reader *reader)
{
	if (reader->config->canary_count > 0)
		return;
	size_t mark = config_path_push(reader, "canaries");
	config_warn(reader, config_node_find(reader->tree->root, "canaries"),
	        "there is none, so browsers may go around the filter");
	config_path_pop(reader, mark);
}

static void check_upstreams(struct config_reader *reader, const struct config_address *servers, size_t count,
        const struct config_node *node, const char *path)
{
	uint8_t address[16];

	if (reader->config->recursion.allow_loopback)
		return;
	size_t mark = config_path_push(reader, path);
	for (size_t i = 0; i < count; i++) {
		address_from_socket(address, (const struct sockaddr *)&servers[i].socket);
		if (address_is_loopback(address))
			config_warn(reader, node,
			        "%s is this machine, which is asked only with recursion.allow-loopback: true",
			        servers[i].text);
	}
	config_path_pop(reader, mark);
}

static void check_zones(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *zones = config_node_find(reader->tree->root, "internal-zones");

	for (size_t i = 0; i < config->internal_zone_count; i++) {
		const struct config_internal_zone *zone = config->internal_zones + i;
		const struct config_node *node = child_at(zones, i);
		check_upstreams(reader, zone->servers, zone->server_count, node, "internal-zones");
		for (size_t k = 0; k < i; k++)
			if (name_equal(&zone->zone, &config->internal_zones[k].zone)) {
				const struct config_node *other = child_at(zones, k);
				PROBLEM(reader, node,
				        "internal-zones[%zu].zone: found a second time, expected once: %s:%u "
				        "has it already",
				        i, other->file, other->line);
				break;
			}
	}
}

/* RFC 2181 10.1: a name with a CNAME has nothing else. */
static void check_records(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *records = config_node_find(reader->tree->root, "local-records");

	for (size_t i = 0; i < config->record_count; i++) {
		if (config->records[i].type != 5)
			continue;
		for (size_t k = 0; k < config->record_count; k++) {
			if (k == i || !name_equal(&config->records[i].owner, &config->records[k].owner))
				continue;
			const struct config_node *node = child_at(records, i), *other = child_at(records, k);
			PROBLEM(reader, node,
			        "local-records[%zu]: found a CNAME, expected no other record of this name: "
			        "%s:%u has one",
			        i, other->file, other->line);
			break;
		}
	}
}

/* ---- alerts ---- */

/* What is left open, and whose profiles are whose: see config.h. */
/* Swarms are on, and what they are found in is not. */
static void check_names(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *names = config_node_find(reader->tree->root, "names");
	bool blind = !config->names.enabled || config->names.days < 2;

	if (!config->names.swarms || !blind)
		return;
	size_t mark = config_path_push(reader, "names");
	config_warn(reader, names,
	        "%s, so swarms are seen only at sites that are blocked; swarms: false if that is meant",
	        config->names.enabled ? "days: 1 remembers no day but the present one"
	                              : "enabled: false counts no names");
	config_path_pop(reader, mark);
}

static void check_alerts(struct config_reader *reader)
{
	static const struct {
		uint32_t count, window_s;
	} usual[] = { [ALERT_THRESHOLD] = { 1, 600 },
		[ALERT_SLOW_BURN] = { 3, 35 * 86400 },
		[ALERT_CHASE] = { 3, 1800 },
		[ALERT_SWARM] = { 5, 3600 },
		[ALERT_OPERATIONS] = { 1, 600 } };
	struct config_alerts *alerts = &reader->config->alerts;

	for (size_t i = 0; i < alerts->rule_count; i++) {
		struct config_alert_rule *rule = &alerts->rules[i];
		if (rule->count == 0)
			rule->count = usual[rule->kind].count;
		if (rule->window_s == 0)
			rule->window_s = usual[rule->kind].window_s;
		bool has_recipients = rule->mail_to_count > 0 || (rule->webhook && rule->webhook[0]);
		for (size_t k = 0; k < rule->profile_count; k++)
			alerts->own[rule->profiles[k]] |=
			        has_recipients && rule->categories == 0 && rule->kind == ALERT_THRESHOLD;
	}
}

void config_check(struct config_reader *reader)
{
	const struct config *config = reader->config;

	check_listen(reader);
	check_categories(reader);
	check_starter(reader);
	check_sources(reader);
	check_networks(reader);
	check_periods(reader);
	check_devices(reader);
	check_profiles(reader);
	check_blocks(reader);
	check_engines(reader);
	check_canaries(reader);
	check_upstreams(reader, config->recursion.forward, config->recursion.forward_count,
	        config_node_find(config_node_find(reader->tree->root, "recursion"), "forward"),
	        "recursion.forward");
	check_zones(reader);
	check_records(reader);
	check_alerts(reader);
	check_names(reader);
}
