/*
 * `usher check-network`: can a device in this network get around usher? It tries what devices try (other
 * resolvers, encrypted DNS) at the addresses of conf/outside-dns.txt, from where it runs, and asks the
 * resolvers that this network names. It needs no usherd here and no configuration: a laptop in the pupils'
 * Wi-Fi will do.
 */
#include "commands.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network_probe.h"
#include "resolver/builtin.h"

#define COMMAND "check-network"
#define OWN_NAME "me.filter.%s"
#define TARGETS_MAX 500
#define RESOLVERS_MAX 16
#define TIMEOUT_DEFAULT_MS 3000
#define TIMEOUT_MAX_MS 60000

/* Where this machine's system says which resolvers the network named. */
static const char *const resolver_files[] = {
	"/etc/resolv.conf",
	"/run/systemd/resolve/resolv.conf",
	"/run/NetworkManager/no-stub-resolv.conf",
	"/var/lib/dhcp/dhclient*.leases",
};

struct target {
	char address[INET6_ADDRSTRLEN];
	char name[64];
};

struct network {
	struct target *targets; /* TARGETS_MAX */
	size_t target_count;
	struct target resolvers[RESOLVERS_MAX];
	size_t resolver_count;
	struct name own_name;
	unsigned timeout_ms;
	struct probe *probes;
	size_t probe_count;
};

/* ---- reading ---- */

static bool is_address(const char *text)
{
	struct in6_addr address;

	return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

/* "ADDRESS NAME", blank, or a comment. Returns 0 or -EINVAL. */
static int target_line(struct network *network, char *line)
{
	char *rest, *address = strtok_r(line, " \t\r", &rest), *name = strtok_r(NULL, " \t\r", &rest);

	if (address == NULL || address[0] == '#')
		return 0;
	if (!is_address(address) || network->target_count == TARGETS_MAX)
		return -EINVAL;
	struct target *target = &network->targets[network->target_count++];
	snprintf(target->address, sizeof target->address, "%s", address);
	snprintf(target->name, sizeof target->name, "%s", name != NULL ? name : "");
	return 0;
}

static int targets_read(struct network *network, const char *path)
{
	const struct builtin_file *builtin = builtin_file("outside-dns.txt");
	FILE *file = path != NULL ? fopen(path, "r") : fmemopen((void *)builtin->text, builtin->len, "r");
	unsigned number = 0;
	char line[512];
	int ret = 0;

	if (file == NULL) {
		fprintf(stderr, "usher: %s: %s\n", path, strerror(errno));
		return COMMAND_FAILED;
	}
	while (ret == 0 && fgets(line, sizeof line, file) != NULL) {
		number++;
		line[strcspn(line, "\n")] = '\0';
		ret = target_line(network, line);
	}
	fclose(file);
	if (ret < 0)
		fprintf(stderr, "usher: %s:%u: expected an address and a name, at most %d of them\n", path,
		        number, TARGETS_MAX);
	return ret < 0 ? COMMAND_FAILED : COMMAND_OK;
}

static void resolver_add(struct network *network, const char *address, const char *where)
{
	for (size_t i = 0; i < network->resolver_count; i++)
		if (strcmp(network->resolvers[i].address, address) == 0)
			return;
	if (!is_address(address) || network->resolver_count == RESOLVERS_MAX)
		return;
	struct target *resolver = &network->resolvers[network->resolver_count++];
	snprintf(resolver->address, sizeof resolver->address, "%s", address);
	snprintf(resolver->name, sizeof resolver->name, "%s", where);
}

/* "nameserver ADDRESS", or dhclient's "option domain-name-servers ADDRESS,ADDRESS;". */
static void resolvers_read(struct network *network, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[512];

	if (file == NULL)
		return;
	while (fgets(line, sizeof line, file) != NULL) {
		char *rest, *word = strtok_r(line, " \t\r\n,;", &rest);
		if (word != NULL && strcmp(word, "option") == 0)
			word = strtok_r(NULL, " \t\r\n,;", &rest);
		if (word == NULL ||
		        (strcmp(word, "nameserver") != 0 && strcmp(word, "domain-name-servers") != 0))
			continue;
		while ((word = strtok_r(NULL, " \t\r\n,;", &rest)) != NULL)
			resolver_add(network, word, path);
	}
	fclose(file);
}

/* The stub of systemd-resolved is no resolver of the network: the file that stands behind it is read too. */
static void resolvers_find(struct network *network, const char *given)
{
	glob_t found;

	if (given != NULL) {
		resolvers_read(network, given);
		return;
	}
	for (size_t i = 0; i < sizeof resolver_files / sizeof *resolver_files; i++) {
		if (glob(resolver_files[i], 0, NULL, &found) != 0)
			continue;
		for (size_t k = 0; k < found.gl_pathc; k++)
			resolvers_read(network, found.gl_pathv[k]);
		globfree(&found);
	}
}

static int network_read(struct network *network, struct command_context *context)
{
	const char *targets = NULL, *resolvers = NULL, *zone = "usher", *timeout = NULL;
	const struct command_option options[] = {
		{ "targets", true, &targets },
		{ "resolv-conf", true, &resolvers },
		{ "zone", true, &zone },
		{ "timeout", true, &timeout },
	};
	char own_name[NAME_TEXT_MAX];
	uint64_t ms = TIMEOUT_DEFAULT_MS;

	if (command_options(context, COMMAND, options, sizeof options / sizeof options[0]) != 0)
		return COMMAND_USAGE;
	if (context->argc > 0)
		return command_usage_error(COMMAND, "expected no word '%s'", context->argv[0]);
	if (timeout != NULL && (config_duration_parse(timeout, &ms) < 0 || ms < 100 || ms > TIMEOUT_MAX_MS))
		return command_usage_error(
		        COMMAND, "--timeout '%s' is no duration from 100ms to 60s", timeout);
	int len = snprintf(own_name, sizeof own_name, OWN_NAME, zone);
	if (len >= (int)sizeof own_name || name_from_user_text(&network->own_name, own_name, (size_t)len) < 0)
		return command_usage_error(COMMAND, "--zone '%s' is no domain name", zone);
	network->timeout_ms = (unsigned)ms;
	resolvers_find(network, resolvers);
	return targets_read(network, targets);
}

/* ---- asking ---- */

static void probes_add(
        struct network *network, enum probe_kind kind, const struct target *targets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct probe *probe = &network->probes[network->probe_count++];
		probe->kind = kind;
		memcpy(probe->address, targets[i].address, sizeof probe->address);
		memcpy(probe->name, targets[i].name, sizeof probe->name);
	}
}

static int network_probe(struct network *network)
{
	network->probes = calloc(network->resolver_count + (PROBE_KIND_COUNT - 1) * network->target_count + 1,
	        sizeof *network->probes);
	if (network->probes == NULL)
		return -ENOMEM;
	probes_add(network, PROBE_RESOLVER, network->resolvers, network->resolver_count);
	for (int kind = PROBE_DNS_UDP; kind < PROBE_KIND_COUNT; kind++)
		probes_add(network, kind, network->targets, network->target_count);
	return probe_run(network->probes, network->probe_count, &network->own_name, network->timeout_ms);
}

/* ---- telling ---- */

static size_t count_of(const struct network *network, int kind, enum probe_result result)
{
	size_t count = 0;

	for (size_t i = 0; i < network->probe_count; i++)
		count += (kind < 0 || (int)network->probes[i].kind == kind) &&
		         network->probes[i].result == result;
	return count;
}

static const char *result_text(enum probe_result result)
{
	static const char *const texts[] = {
		[PROBE_CLOSED] = "closed", [PROBE_OPEN] = "open", [PROBE_OURS] = "usher"
	};

	return texts[result];
}

static void print_rows(const struct network *network, bool json)
{
	static const char *const header[] = { "check", "address", "name", "port", "protocol", "result",
		"way_around" };

	if (!json)
		command_csv(header, sizeof header / sizeof *header);
	for (size_t i = 0; i < network->probe_count; i++) {
		const struct probe *probe = &network->probes[i];
		const char *result = result_text(probe->result);
		bool open = probe->result == PROBE_OPEN;
		char port[8];
		snprintf(port, sizeof port, "%u", probe_kind_port(probe->kind));
		if (!json) {
			const char *cells[] = { probe_kind_name(probe->kind), probe->address, probe->name,
				port, probe_kind_protocol(probe->kind), result, open ? "true" : "false" };
			command_csv(cells, sizeof cells / sizeof *cells);
			continue;
		}
		json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:b}", "check",
		        probe_kind_name(probe->kind), "address", probe->address, "name", probe->name, "port",
		        (int)probe_kind_port(probe->kind), "protocol", probe_kind_protocol(probe->kind),
		        "result", result, "way_around", open);
		command_json(row);
		json_decref(row);
	}
}

/* One line a kind, then what is open. */
static void print_people(const struct network *network)
{
	static const char *const columns[] = { "WHAT A DEVICE HERE MAY TRY", "TRIED", "USHER ANSWERS",
		"CLOSED", "WAYS AROUND" };
	struct command_table *table = command_table_new(columns, sizeof columns / sizeof *columns);

	for (int kind = 0; kind < PROBE_KIND_COUNT; kind++) {
		size_t closed = count_of(network, kind, PROBE_CLOSED),
		       ours = count_of(network, kind, PROBE_OURS), open = count_of(network, kind, PROBE_OPEN);
		char cells[4][24];
		snprintf(cells[0], sizeof cells[0], "%zu", closed + ours + open);
		snprintf(cells[1], sizeof cells[1], "%zu", ours);
		snprintf(cells[2], sizeof cells[2], "%zu", closed);
		snprintf(cells[3], sizeof cells[3], "%zu", open);
		command_table_row(table, (const char *const[]){ probe_kind_title(kind), cells[0], cells[1],
		                                 cells[2], cells[3] });
	}
	command_table_print(table);
	for (size_t i = 0; i < network->probe_count; i++) {
		const struct probe *probe = &network->probes[i];
		if (probe->result == PROBE_OPEN)
			printf("open: %s (%s), %s %u\n", probe->address, probe->name,
			        probe_kind_protocol(probe->kind), probe_kind_port(probe->kind));
	}
}

/* The last word, on stderr for programs' sake. */
static int network_verdict(const struct network *network)
{
	size_t open = count_of(network, -1, PROBE_OPEN);

	if (open > 0) {
		fprintf(stderr,
		        "usher: %zu ways around usher from this network: load conf/nftables.conf on its "
		        "router, and "
		        "let DHCP name usher alone\n",
		        open);
		return COMMAND_FAILED;
	}
	if (count_of(network, -1, PROBE_OURS) == 0) {
		fputs("usher: no usher answers in this network, so nothing is known: is this a client's "
		      "network, and "
		      "is dns.why-zone set?\n",
		        stderr);
		return COMMAND_FAILED;
	}
	fputs("usher: no way around usher was found from this network\n", stderr);
	return COMMAND_OK;
}

int network_command(struct command_context *context)
{
	struct network network = { .targets = calloc(TARGETS_MAX, sizeof *network.targets) };

	if (network.targets == NULL)
		return COMMAND_FAILED;
	int ret = network_read(&network, context);
	if (ret == COMMAND_OK) {
		int failed = network_probe(&network);
		if (failed < 0) {
			fprintf(stderr, "usher: %s\n", strerror(-failed));
			ret = COMMAND_FAILED;
		} else {
			if (context->json || context->csv)
				print_rows(&network, context->json);
			else
				print_people(&network);
			ret = network_verdict(&network);
		}
	}
	free(network.probes);
	free(network.targets);
	return ret;
}
