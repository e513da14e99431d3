#include "probe_control.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "engines.h"
#include "probe.h"
#include "publish.h"

/* ---- /v1/probe ---- */

static void probe_answered(struct probe *probe, void *arg)
{
	static const char digits[] = "0123456789abcdef";
	struct http_request *request = arg;
	char *hex = malloc(2 * probe->answer_len + 1), *at = hex;

	if (hex == NULL) {
		http_reply_error(request, 500, "out of memory");
		return;
	}
	for (size_t i = 0; i < probe->answer_len; i++) {
		*at++ = digits[probe->answer[i] >> 4];
		*at++ = digits[probe->answer[i] & 0xf];
	}
	*at = '\0';
	json_t *reply = json_pack("{s:o}", "answer", probe->answer_len > 0 ? json_string(hex) : json_null());
	char *text = json_dumps(reply, JSON_COMPACT);
	http_reply_json(request, 200, text);
	free(text);
	json_decref(reply);
	free(hex);
}

/* A query as a stub resolver sends it, with EDNS: so that the answer tells why (RFC 8914). */
static size_t write_query(uint8_t *wire, const struct name *name, uint16_t type)
{
	static const uint8_t head[] = { 0, 0, 1, 0 /* RD */, 0, 1, 0, 0, 0, 0, 0, 1 };
	static const uint8_t opt[] = { 0, 0, TYPE_OPT, 0x04, 0xd0, 0, 0, 0, 0, 0, 0 };
	uint8_t *at = wire;

	memcpy(at, head, sizeof head);
	at += sizeof head;
	memcpy(at, name->wire, name->len);
	at += name->len;
	*at++ = (uint8_t)(type >> 8);
	*at++ = (uint8_t)type;
	*at++ = 0;
	*at++ = CLASS_IN;
	memcpy(at, opt, sizeof opt);
	return (size_t)(at + sizeof opt - wire);
}

/* NULL when the request has been answered. */
static struct probe *probe_of(struct http_request *request, const json_t *body)
{
	const char *client = json_string_value(json_object_get(body, "client"));
	const char *name_text = json_string_value(json_object_get(body, "name"));
	const char *type_text = json_string_value(json_object_get(body, "type"));
	struct config_network network;
	struct name name;
	int type = type_text != NULL ? message_type_parse(type_text) : TYPE_A;
	struct probe *probe;

	if (client == NULL || strchr(client, '/') != NULL || config_network_parse(&network, client) < 0)
		http_reply_error(request, 400, "client: found '%.100s', expected an address",
		        client ? client : "nothing");
	else if (name_text == NULL || name_from_user_text(&name, name_text, strlen(name_text)) < 0)
		http_reply_error(request, 400, "name: found '%.100s', expected a domain name",
		        name_text ? name_text : "nothing");
	else if (type < 0)
		http_reply_error(request, 400, "type: found '%.100s', expected a record type", type_text);
	else if ((probe = calloc(1, sizeof *probe)) == NULL)
		http_reply_error(request, 500, "out of memory");
	else {
		memcpy(probe->address, network.address, sizeof probe->address);
		probe->raw = json_is_true(json_object_get(body, "raw"));
		probe->wire_len = write_query(probe->wire, &name, (uint16_t)type);
		probe->answered = probe_answered;
		probe->arg = request;
		return probe;
	}
	return NULL;
}

void probe_control_ask(struct http_request *request, void *arg)
{
	struct daemon *daemon = arg;
	size_t len;
	const char *text = http_body(request, &len);
	json_t *body = json_loadb(text, len, 0, NULL);
	struct probe *probe = probe_of(request, body);

	if (probe != NULL)
		probe_ask(daemon->probe_door, daemon->workers[0], probe);
	json_decref(body);
}

/* ---- /v1/engines ---- */

/* False when the request has been answered. */
static bool engines_of(
        struct http_request *request, const struct config *config, const json_t *names, uint64_t *failed)
{
	const json_t *name;
	size_t i;

	*failed = 0;
	json_array_foreach(names, i, name)
	{
		size_t engine = 0;
		const char *text = json_is_string(name) ? json_string_value(name) : "";
		while (engine < config->engine_count && strcmp(config->engines[engine].name, text) != 0)
			engine++;
		if (engine == config->engine_count) {
			http_reply_error(
			        request, 400, "failed: found '%.100s', expected the name of an engine", text);
			return false;
		}
		*failed |= UINT64_C(1) << engine;
	}
	return true;
}

void probe_control_engines(struct http_request *request, void *arg)
{
	struct daemon *daemon = arg;
	size_t len;
	uint64_t failed;
	const char *text = http_body(request, &len);
	json_t *body = json_loadb(text, len, 0, NULL), *names = json_object_get(body, "failed");

	if (!json_is_array(names)) {
		http_reply_error(request, 400, "expected {\"failed\": [\"engine\"]}, found '%.*s'",
		        (int)(len < 200 ? len : 200), text);
	} else if (engines_of(request, daemon->config, names, &failed)) {
		int ret = failed != daemon->engines_failed ? engines_write(daemon->config, failed) : 0;
		if (ret == 0 && failed != daemon->engines_failed) {
			ret = daemon_fail_engines(daemon, failed);
			daemon_note(daemon, http_peer_uid(request), "safe-search",
			        json_pack("{s:O}", "failed", names));
		}
		if (ret == 0)
			http_reply_json(request, 200, "{}");
		else
			http_reply_error(request, 500, "%s", strerror(-ret));
	}
	json_decref(body);
}
