#include "config_kind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>

#include "blocklists/name.h"
#include "blocklists/parse.h"
#include "config_value.h"

#define DNS_PORT 53
#define DOT_PORT 853 /* RFC 7858 3.1 */
#define RECORD_TTL_S 300
#define RECORD_TEXT_MAX 4096

static void socket_wrong(struct config_reader *reader, const struct config_node *node, int ret)
{
	if (ret == -ERANGE)
		config_wrong(reader, node, "a port from 1 to 65535 behind the @");
	else
		config_wrong(reader, node, "an address such as 10.0.0.53@53 or \"2001:db8::53@53\"");
}

READ(address)
{
	struct config_address *address = at;
	struct config_address read = { .tls_name = NULL };

	if (node->len == 0 && config_may_be_empty(option)) {
		config_keep_text(reader, "", &address->text);
		return;
	}
	int ret = config_socket_parse(
	        &read.socket, &read.socket_len, node->text, option->port > 0 ? option->port : DNS_PORT);
	if (ret < 0) {
		socket_wrong(reader, node, ret);
		return;
	}
	config_keep_text(reader, node->text, &read.text);
	*address = read;
}

PRINT(address)
{
	const struct config_address *address = at;
	config_print_scalar(printer->to, address->text == NULL ? "" : address->text);
}

KIND(address, .example = "10.0.0.53@53");

static bool is_tls_name(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
	struct name name;

	return text[strspn(text, plain)] == '\0' && name_from_text(&name, text, strlen(text)) == 0 &&
	       name.labels > 0;
}

READ(forward)
{
	struct config_address *address = at;
	struct config_address read = { .tls_name = NULL };
	char without[INET6_ADDRSTRLEN + 8];
	const char *hash = strchr(node->text, '#');
	size_t len = hash == NULL ? node->len : (size_t)(hash - node->text);

	if (len >= sizeof without) {
		socket_wrong(reader, node, -EINVAL);
		return;
	}
	memcpy(without, node->text, len);
	without[len] = '\0';
	int ret = config_socket_parse(
	        &read.socket, &read.socket_len, without, hash == NULL ? DNS_PORT : DOT_PORT);
	if (ret < 0) {
		socket_wrong(reader, node, ret);
		return;
	}
	if (hash != NULL && !is_tls_name(hash + 1)) {
		config_wrong(reader, node,
		        "the server's TLS name behind the #, such as 9.9.9.9@853#dns.quad9.net");
		return;
	}
	config_keep_text(reader, node->text, &read.text);
	if (hash != NULL)
		config_keep_text(reader, hash + 1, &read.tls_name);
	*address = read;
}

#define print_forward print_address
KIND(forward, .example = "10.0.0.53@53");

READ(network)
{
	struct config_network network;
	char text[INET6_ADDRSTRLEN + 4];
	int ret = config_network_read(&network, node->text);

	if (ret == -ERANGE) {
		config_network_text(&network, text);
		config_wrong(reader, node, "%s: bits are set behind the network's length", text);
		return;
	}
	if (ret < 0) {
		config_wrong(reader, node, "a network such as 10.20.0.0/16 or \"2001:db8:20::/48\"");
		return;
	}
	*(struct config_network *)at = network;
}

PRINT(network)
{
	char text[INET6_ADDRSTRLEN + 4];

	config_network_text(at, text);
	config_print_scalar(printer->to, text);
}

KIND(network, .example = "10.20.0.0/16");

/* What people take for a name: a URL, a pattern. '/' is in classless reverse zones only (RFC 2317 4). */
static bool is_no_name(const struct name *name)
{
	const uint8_t *last = name->labels == 0 ? NULL : name->wire + name->offset[name->labels - 1];
	bool is_arpa = last != NULL && memcmp(last, "\4arpa", 5) == 0;

	for (unsigned i = 0; i < name->labels; i++) {
		const uint8_t *label = name->wire + name->offset[i];
		for (unsigned k = 1; k <= label[0]; k++)
			if (label[k] <= ' ' || label[k] == ':' || label[k] == '*' ||
			        (label[k] == '/' && !is_arpa))
				return true;
	}
	return name->labels == 0;
}

/*
 * Suffixes under which only the institutions they are for get a name, and the reverse trees, whose zones are
 * private ones: these may be named as a whole.
 */
static bool is_closed_suffix(const struct name *name)
{
	static const char *const closed[] = { "edu", "gov", "mil", "int", "arpa", "ac.uk", "gov.uk", "mod.uk",
		"nhs.uk", "police.uk", "sch.uk", NULL };
	struct name suffix;

	for (size_t i = 0; closed[i] != NULL; i++)
		if (name_from_text(&suffix, closed[i], strlen(closed[i])) == 0 &&
		        name_is_below(name, &suffix))
			return true;
	return false;
}

READ(name)
{
	struct name name;

	if (strncmp(node->text, "*.", 2) == 0) {
		config_wrong(reader, node, "the name alone: what is below it is meant too");
		return;
	}
	if (name_from_user_text(&name, node->text, node->len) < 0 || is_no_name(&name)) {
		config_wrong(reader, node, "a domain name such as www.example.com");
		return;
	}
	if (option->below_suffix && parse_is_registry(&name) && !is_closed_suffix(&name)) {
		config_wrong(
		        reader, node, "a name below it, such as school.%s: this is everybody's", node->text);
		return;
	}
	*(struct name *)at = name;
}

PRINT(name)
{
	char text[NAME_TEXT_MAX];

	if (((const struct name *)at)->len == 0)
		text[0] = '\0';
	else
		name_to_text(at, text);
	config_print_scalar(printer->to, text);
}

KIND(name, .example = "www.example.com");

/* A target that an engine may lack. */
READ(target)
{
	if (node->len > 0)
		read_name(reader, option, node, at);
}

#define print_target print_name
KIND(target, .example = "safe.example.com");

/* Addresses of both families, in two arrays. */
struct addresses {
	struct in_addr *v4;
	struct in6_addr *v6;
	size_t v4_count, v6_count;
};

static bool read_address_list(
        struct config_reader *reader, const struct config_node *node, struct addresses *addresses)
{
	bool good = true;
	size_t index = 0;

	addresses->v4_count = addresses->v6_count = 0;
	addresses->v4 = config_reader_alloc(reader, node->count * sizeof *addresses->v4);
	addresses->v6 = config_reader_alloc(reader, node->count * sizeof *addresses->v6);
	if (addresses->v4 == NULL || addresses->v6 == NULL)
		return false;
	for (const struct config_node *item = node->first; item != NULL; item = item->next) {
		size_t mark = config_path_index(reader, index++);
		const char *text = item->type == NODE_SCALAR ? item->text : "";
		if (inet_pton(AF_INET, text, addresses->v4 + addresses->v4_count) == 1) {
			addresses->v4_count++;
		} else if (inet_pton(AF_INET6, text, addresses->v6 + addresses->v6_count) == 1) {
			addresses->v6_count++;
		} else {
			config_wrong(reader, item, "an address such as 10.0.0.80 or \"2001:db8::80\"");
			good = false;
		}
		config_path_pop(reader, mark);
	}
	return good;
}

static void print_address_list(FILE *to, const struct addresses *addresses)
{
	char text[INET6_ADDRSTRLEN];
	const char *gap = "";

	fputc('[', to);
	for (size_t i = 0; i < addresses->v4_count; i++, gap = ", ")
		fprintf(to, "%s%s", gap, inet_ntop(AF_INET, addresses->v4 + i, text, sizeof text));
	for (size_t i = 0; i < addresses->v6_count; i++, gap = ", ")
		fprintf(to, "%s\"%s\"", gap, inet_ntop(AF_INET6, addresses->v6 + i, text, sizeof text));
	fputc(']', to);
}

/* An engine's; at is the engine. */
READ(addresses)
{
	struct config_engine *engine = at;
	struct addresses list;

	if (node->type == NODE_MAP || (node->type == NODE_SCALAR && !config_node_is_null(node))) {
		config_wrong(reader, node, "a list of addresses such as [10.0.0.80]");
		return;
	}
	if (!read_address_list(reader, node, &list))
		return;
	engine->v4 = list.v4;
	engine->v4_count = list.v4_count;
	engine->v6 = list.v6;
	engine->v6_count = list.v6_count;
}

PRINT(addresses)
{
	const struct config_engine *engine = at;
	print_address_list(printer->to,
	        &(struct addresses){ engine->v4, engine->v6, engine->v4_count, engine->v6_count });
}

KIND(addresses, .takes_lists = true, .example = "10.0.0.80");

/* A profile's; at is the profile. */
READ(block_answer)
{
	struct config_profile *profile = at;
	struct addresses list;

	if (node->type == NODE_SCALAR) {
		int place = config_word_place(reader, option, node);
		if (place >= 0)
			profile->block_answer = (enum config_block_answer)place;
		return;
	}
	if (node->type == NODE_MAP || node->count == 0) {
		config_wrong(reader, node, "nxdomain, nodata, null, refused or a list of addresses");
		return;
	}
	if (!read_address_list(reader, node, &list))
		return;
	profile->block_answer = BLOCK_ADDRESS;
	profile->block_v4 = list.v4;
	profile->block_v4_count = list.v4_count;
	profile->block_v6 = list.v6;
	profile->block_v6_count = list.v6_count;
}

PRINT(block_answer)
{
	const struct config_profile *profile = at;

	if (profile->block_answer != BLOCK_ADDRESS) {
		fputs(option->words[profile->block_answer], printer->to);
		return;
	}
	print_address_list(printer->to, &(struct addresses){ profile->block_v4, profile->block_v6,
	                                        profile->block_v4_count, profile->block_v6_count });
}

KIND(block_answer, .takes_lists = true, .example = "nxdomain");

/* ---- local records ---- */

/* One line of a zone file in wire form, by ldns. Returns NULL, or what is wrong. */
static const char *record_read(struct config_reader *reader, const char *text, struct config_record *record)
{
	ldns_rr *rr = NULL;
	ldns_buffer *wire = NULL;
	const char *wrong = NULL;

	/* Without an origin these would stand for the root. */
	if (strlen(text) > RECORD_TEXT_MAX || text[0] == '@' || text[0] == ' ' || text[0] == '*')
		return "a record whose owner is a full name, without *";
	for (const char *at = text; *at != '\0'; at++)
		if (((unsigned char)*at < 0x20 && *at != '\t') || (unsigned char)*at >= 0x7f)
			return "a record of one line in ASCII";
	ldns_status status = ldns_rr_new_frm_str(&rr, text, RECORD_TTL_S, NULL, NULL);
	if (status != LDNS_STATUS_OK)
		return ldns_get_errorstr_by_id(status);
	wire = ldns_buffer_new(512);
	if (wire == NULL) {
		reader->tree->no_memory = true;
	} else if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN) {
		wrong = "class IN";
	} else if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_OPT || ldns_rr_get_type(rr) >= LDNS_RR_TYPE_TKEY) {
		wrong = "a type of data, such as A or CNAME";
	} else if (ldns_rr_owner(rr) == NULL ||
	           name_from_wire(&record->owner, ldns_rdf_data(ldns_rr_owner(rr)),
	                   ldns_rdf_size(ldns_rr_owner(rr))) <= 1) {
		wrong = "an owner name";
	} else if (ldns_rr_rd_count(rr) == 0 || ldns_rr_rdata2buffer_wire(wire, rr) != LDNS_STATUS_OK ||
	           ldns_buffer_position(wire) > UINT16_MAX) {
		wrong = "data of the record";
	} else {
		size_t len = ldns_buffer_position(wire);
		uint8_t *rdata = config_reader_alloc(reader, len);
		if (rdata != NULL)
			memcpy(rdata, ldns_buffer_begin(wire), len);
		record->type = (uint16_t)ldns_rr_get_type(rr);
		record->ttl_s = ldns_rr_ttl(rr) & 0x7fffffff; /* RFC 2181 8 */
		record->rdata = rdata;
		record->rdata_len = (uint16_t)len;
	}
	ldns_buffer_free(wire);
	ldns_rr_free(rr);
	return wrong;
}

READ(record)
{
	struct config_record record = { .text = NULL };
	const char *wrong = record_read(reader, node->text, &record);

	if (wrong != NULL) {
		config_wrong(reader, node,
		        "a zone-file line such as 'intranet.school.example. 300 IN A 10.0.0.5' (%s)", wrong);
		return;
	}
	config_keep_text(reader, node->text, &record.text);
	*(struct config_record *)at = record;
}

PRINT(record)
{
	config_print_scalar(printer->to, ((const struct config_record *)at)->text);
}

KIND(record, .example = "\"intranet.school.example. 300 IN A 10.0.0.5\"");
