/* A domain name: wire and text forms, suffixes, keys, hashes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "blocklists/name.h"

static struct name name_of(const char *text)
{
	struct name name;

	assert_int_equal(name_from_text(&name, text, strlen(text)), 0);
	return name;
}

static void assert_text(const struct name *name, const char *expected)
{
	char text[NAME_TEXT_MAX];

	assert_int_equal(name_to_text(name, text), strlen(expected));
	assert_string_equal(text, expected);
}

static void upper_case_and_trailing_dot_go(void **state)
{
	struct name name = name_of("WWW.Example.COM.");

	assert_text(&name, "www.example.com");
	assert_int_equal(name.labels, 3);
	assert_int_equal(name.len, 17);
}

static void root_is_a_name_without_labels(void **state)
{
	struct name name = name_of(".");

	assert_int_equal(name.labels, 0);
	assert_int_equal(name.len, 1);
	assert_text(&name, ".");
}

static void escapes_are_read_and_written(void **state)
{
	struct name name = name_of("a\\.b.\\000\\255.\\\"\\065.com");

	assert_int_equal(name.labels, 4);
	assert_memory_equal(name.wire, "\3a.b\2\0\xff\2\"a\3com", 15);
	assert_text(&name, "a\\.b.\\000\\255.\\\"a.com");
}

static void bad_text_is_refused(void **state)
{
	static const char *const bad[] = { "", "..", ".com", "a..b", "a\\", "a\\25", "a\\256.com", "a\\2x5",
		"caf\xe9.fr" };
	struct name name;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(name_from_text(&name, bad[i], strlen(bad[i])), -EINVAL);
}

static void label_of_63_fits_and_of_64_does_not(void **state)
{
	char text[80];
	struct name name;

	memset(text, 'a', sizeof text);
	assert_int_equal(name_from_text(&name, text, 63), 0);
	assert_int_equal(name_from_text(&name, text, 64), -ENAMETOOLONG);
}

static void name_of_255_octets_fits_and_of_256_does_not(void **state)
{
	char text[300];
	struct name name;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 2 == 0 ? 'a' : '.';
	assert_int_equal(name_from_text(&name, text, 253), 0); /* 127 labels of one octet */
	assert_int_equal(name.labels, NAME_LABELS_MAX);
	assert_int_equal(name.len, 255);
	assert_int_equal(name_from_text(&name, text, 255), -ENAMETOOLONG);
}

static void idn_becomes_a_labels(void **state)
{
	static const char buecher[] = "B\xc3\xbc"
	                              "cher.example";
	static const char strasse[] = "stra\xc3\x9f"
	                              "e.de";
	struct name name;

	assert_int_equal(name_from_user_text(&name, buecher, strlen(buecher)), 0);
	assert_text(&name, "xn--bcher-kva.example");
	assert_int_equal(name_from_user_text(&name, strasse, strlen(strasse)), 0);
	assert_text(&name, "xn--strae-oqa.de");
}

static void text_that_is_not_utf8_is_refused(void **state)
{
	struct name name;

	assert_int_equal(name_from_user_text(&name, "caf\xe9.fr", 7), -EILSEQ);
	assert_int_equal(name_from_user_text(&name, "a\0\xc3\xbc.fr", 7), -EILSEQ);
}

static void wire_form_is_read(void **state)
{
	static const uint8_t wire[] = "\3WWW\7example\0rest";
	struct name name;

	assert_int_equal(name_from_wire(&name, wire, sizeof wire), 13);
	assert_text(&name, "www.example");
}

static void every_octet_is_lowered_wherever_it_stands(void **state)
{
	uint8_t wire[66];
	struct name name;

	for (unsigned octet = 0; octet < 256; octet++)
		for (unsigned len = 1; len <= 63; len++) {
			memset(wire, 'x', sizeof wire);
			wire[0] = (uint8_t)len;
			wire[1 + octet % len] = (uint8_t)octet;
			wire[len] = (uint8_t)octet;
			wire[1 + len] = 0;
			assert_int_equal(name_from_wire(&name, wire, len + 2), len + 2);
			assert_int_equal(name.len, len + 2);
			assert_int_equal(name.wire[0], len);
			for (unsigned i = 1; i < len + 2; i++)
				assert_int_equal(name.wire[i],
				        wire[i] >= 'A' && wire[i] <= 'Z' ? wire[i] + 32 : wire[i]);
		}
}

static void truncated_wire_or_a_pointer_in_it_is_refused(void **state)
{
	static const uint8_t wire[] = "\3www\7example";
	struct name name;

	for (size_t len = 0; len < sizeof wire - 1; len++)
		assert_int_equal(name_from_wire(&name, wire, len), -EBADMSG);
	assert_int_equal(name_from_wire(&name, (const uint8_t *)"\1a\xc0\0", 4), -EBADMSG);
	assert_int_equal(name_from_wire(&name,
	                         (const uint8_t *)"\x41"
	                                          "a",
	                         2),
	        -EBADMSG);
}

static void compressed_name_is_read_and_its_own_length_told(void **state)
{
	/*                               0          8     13 */
	static const uint8_t message[] = "\7example\0\3www\xc0\0\1a\xc0\x9";
	struct name name;

	assert_int_equal(name_from_message(&name, message, sizeof message - 1, 9), 6);
	assert_text(&name, "www.example");
	assert_int_equal(name_from_message(&name, message, sizeof message - 1, 15), 4);
	assert_text(&name, "a.www.example");
}

static void compression_loops_are_refused(void **state)
{
	struct name name;

	assert_int_equal(name_from_message(&name, (const uint8_t *)"\xc0\0", 2, 0), -EBADMSG);
	assert_int_equal(name_from_message(&name, (const uint8_t *)"\1a\xc0\0", 4, 0), -EBADMSG);
	assert_int_equal(name_from_message(&name, (const uint8_t *)"\1a\xc0\4\1b\xc0\0", 8, 4), -EBADMSG);
	assert_int_equal(name_from_message(&name, (const uint8_t *)"\1a\xc0\7", 4, 0), -EBADMSG);
	assert_int_equal(name_from_message(&name, (const uint8_t *)"\1a\xc0", 3, 0), -EBADMSG);
}

static void pointers_cannot_make_a_name_too_long(void **state)
{
	uint8_t message[300];
	struct name name;
	size_t at = 1;

	/* 64 octets and the root at 0, then pieces of 63 octets that each point to the one before. */
	message[0] = 0;
	for (unsigned i = 0; i < 4; i++) {
		size_t before = i == 0 ? 0 : at - 66;
		message[at] = 63;
		memset(message + at + 1, 'a', 63);
		message[at + 64] = 0xc0;
		message[at + 65] = (uint8_t)before;
		at += 66;
	}
	assert_int_equal(name_from_message(&name, message, at, at - 132), 66);
	assert_int_equal(name_from_message(&name, message, at, at - 66), -EBADMSG);
}

static void parents_end_on_label_boundaries(void **state)
{
	struct name parent = name_of("example.com"), child = name_of("a.example.com"),
	            other = name_of("notexample.com");
	struct name root = name_of(".");

	assert_true(name_is_below(&child, &parent));
	assert_true(name_is_below(&parent, &parent));
	assert_true(name_is_below(&parent, &root));
	assert_false(name_is_below(&other, &parent));
	assert_false(name_is_below(&parent, &child));
	/* A label that holds the octets of the parent is not below it. */
	struct name sly = name_of("\\007example\\003com.org"), com = name_of("com");
	assert_false(name_is_below(&sly, &com));
}

static void suffix_is_a_name_of_its_own(void **state)
{
	struct name name = name_of("a.b.example.com"), suffix, expected = name_of("example.com");

	name_suffix(&name, 2, &suffix);
	assert_true(name_equal(&suffix, &expected));
	assert_memory_equal(suffix.offset, expected.offset, 2);
	name_suffix(&name, 4, &suffix);
	assert_int_equal(suffix.labels, 0);
	name_suffix(&name, 0, &name);
	assert_text(&name, "a.b.example.com");
}

static void keys_of_children_begin_with_their_parents(void **state)
{
	struct name name = name_of("www.example.com"), back;
	uint8_t key[NAME_KEY_MAX];

	assert_int_equal(name_to_key(&name, key), 16);
	assert_memory_equal(key, "\3com\7example\3www", 16);
	assert_int_equal(name_from_key(&back, key, 16), 0);
	assert_true(name_equal(&name, &back));
	assert_int_equal(name_from_key(&back, key, 4), 0);
	assert_text(&back, "com");
}

static void broken_keys_are_refused(void **state)
{
	struct name name;

	assert_int_equal(name_from_key(&name, (const uint8_t *)"\3co", 3), -EBADMSG);
	assert_int_equal(name_from_key(&name, (const uint8_t *)"\0", 1), -EBADMSG);
	assert_int_equal(name_from_key(&name,
	                         (const uint8_t *)"\xff"
	                                          "info",
	                         5),
	        -EBADMSG);
}

static void suffix_hashes_are_those_of_the_suffixes(void **state)
{
	struct name name = name_of("www.example.com"), parent = name_of("example.com");
	uint64_t hash[NAME_LABELS_MAX + 1], parent_hash[NAME_LABELS_MAX + 1];

	name_hash_suffixes(&name, 7, hash);
	name_hash_suffixes(&parent, 7, parent_hash);
	assert_true(hash[1] == parent_hash[0] && hash[2] == parent_hash[1] && hash[3] == 7);
	assert_true(hash[0] != hash[1]);
	name_hash_suffixes(&parent, 8, parent_hash);
	assert_true(hash[1] != parent_hash[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(upper_case_and_trailing_dot_go),
		cmocka_unit_test(root_is_a_name_without_labels),
		cmocka_unit_test(escapes_are_read_and_written),
		cmocka_unit_test(bad_text_is_refused),
		cmocka_unit_test(label_of_63_fits_and_of_64_does_not),
		cmocka_unit_test(name_of_255_octets_fits_and_of_256_does_not),
		cmocka_unit_test(idn_becomes_a_labels),
		cmocka_unit_test(text_that_is_not_utf8_is_refused),
		cmocka_unit_test(wire_form_is_read),
		cmocka_unit_test(every_octet_is_lowered_wherever_it_stands),
		cmocka_unit_test(truncated_wire_or_a_pointer_in_it_is_refused),
		cmocka_unit_test(compressed_name_is_read_and_its_own_length_told),
		cmocka_unit_test(compression_loops_are_refused),
		cmocka_unit_test(pointers_cannot_make_a_name_too_long),
		cmocka_unit_test(parents_end_on_label_boundaries),
		cmocka_unit_test(suffix_is_a_name_of_its_own),
		cmocka_unit_test(keys_of_children_begin_with_their_parents),
		cmocka_unit_test(broken_keys_are_refused),
		cmocka_unit_test(suffix_hashes_are_those_of_the_suffixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
