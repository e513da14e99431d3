/*
 * Messages from text for tests, and text from messages: made and read by ldns, the second opinion on what we
 * write.
 */
#ifndef USHER_TEST_DNS_TEXT_H
#define USHER_TEST_DNS_TEXT_H

#include <ldns/ldns.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dns_wire {
	uint8_t octets[65535];
	size_t len;
};

static inline void dns_die(const char *what, const char *text)
{
	fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

static inline void dns_push(ldns_pkt *packet, ldns_pkt_section section, const char *text)
{
	ldns_rr *record = NULL;

	if (ldns_rr_new_frm_str(&record, text, 0, NULL, NULL) != LDNS_STATUS_OK)
		dns_die("not a record", text);
	ldns_pkt_push_rr(packet, section, record);
}

/*
 * A message as the recursor brings it. text: records in zone form, one a line; a line "--" ends the section,
 * the first section is the answer. do_bit: with an OPT.
 */
static inline void dns_message(
        struct dns_wire *wire, const char *name, uint16_t type, uint8_t rcode, bool do_bit, const char *text)
{
	ldns_pkt *packet = ldns_pkt_query_new(ldns_dname_new_frm_str(name), (ldns_rr_type)type,
	        LDNS_RR_CLASS_IN, LDNS_QR | LDNS_RD | LDNS_RA);
	ldns_pkt_section section = LDNS_SECTION_ANSWER;
	char *copy = strdup(text), *save = NULL;
	uint8_t *octets;

	ldns_pkt_set_id(packet, 0);
	ldns_pkt_set_rcode(packet, rcode);
	for (char *line = strtok_r(copy, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (strcmp(line, "--") == 0)
			section++;
		else
			dns_push(packet, section, line);
	}
	if (do_bit) {
		ldns_pkt_set_edns_udp_size(packet, 4096);
		ldns_pkt_set_edns_do(packet, true);
	}
	if (ldns_pkt2wire(&octets, packet, &wire->len) != LDNS_STATUS_OK || wire->len > sizeof wire->octets)
		dns_die("not a message", name);
	memcpy(wire->octets, octets, wire->len);
	free(octets);
	free(copy);
	ldns_pkt_free(packet);
}

/* A query; size 0: without EDNS. */
static inline void dns_query(
        struct dns_wire *wire, const char *name, uint16_t type, uint16_t size, bool do_bit)
{
	ldns_pkt *packet = ldns_pkt_query_new(
	        ldns_dname_new_frm_str(name), (ldns_rr_type)type, LDNS_RR_CLASS_IN, LDNS_RD);
	uint8_t *octets;

	ldns_pkt_set_id(packet, 0x1234);
	ldns_pkt_set_edns_udp_size(packet, size);
	ldns_pkt_set_edns_do(packet, do_bit);
	if (ldns_pkt2wire(&octets, packet, &wire->len) != LDNS_STATUS_OK)
		dns_die("not a query", name);
	memcpy(wire->octets, octets, wire->len);
	free(octets);
	ldns_pkt_free(packet);
}

/* Appends an option to the OPT that is the last record of a query. */
static inline void dns_option(
        struct dns_wire *wire, size_t opt_at, uint16_t code, const void *data, uint16_t len)
{
	uint8_t *rdlen = wire->octets + opt_at + 9, *p = wire->octets + wire->len;
	uint16_t had = (uint16_t)(rdlen[0] << 8 | rdlen[1]);

	p[0] = (uint8_t)(code >> 8);
	p[1] = (uint8_t)code;
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	if (len > 0)
		memcpy(p + 4, data, len);
	wire->len += 4u + len;
	rdlen[0] = (uint8_t)((had + 4 + len) >> 8);
	rdlen[1] = (uint8_t)(had + 4 + len);
}

/* NULL if ldns cannot read it. */
static inline ldns_pkt *dns_read(const uint8_t *octets, size_t len)
{
	ldns_pkt *packet = NULL;

	return ldns_wire2pkt(&packet, octets, len) == LDNS_STATUS_OK ? packet : NULL;
}

/* The records of a message as text: "owner TTL class type rdata" lines, sections parted by "--", without the
 * OPT. */
static inline void dns_text(char *text, size_t size, const uint8_t *octets, size_t len)
{
	ldns_pkt *packet = dns_read(octets, len);

	text[0] = '\0';
	if (packet == NULL) {
		snprintf(text, size, "unreadable");
		return;
	}
	ldns_rr_list *sections[] = { ldns_pkt_answer(packet), ldns_pkt_authority(packet),
		ldns_pkt_additional(packet) };
	for (int s = 0; s < 3; s++) {
		for (size_t i = 0; i < ldns_rr_list_rr_count(sections[s]); i++) {
			char *line = ldns_rr2str(ldns_rr_list_rr(sections[s], i));
			for (char *p = line; *p != '\0'; p++)
				if (*p == '\t')
					*p = ' ';
			strncat(text, line, size - strlen(text) - 1);
			free(line);
		}
		if (s < 2)
			strncat(text, "--\n", size - strlen(text) - 1);
	}
	ldns_pkt_free(packet);
}

#endif
