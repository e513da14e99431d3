#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "blocklists/lookalike.h"

static const char *twin_of_text(const char *text)
{
	static char out[NAME_TEXT_MAX];
	struct name twin;

	if (!lookalike_twin(text, strlen(text), &twin))
		return NULL;
	name_to_text(&twin, out);
	return out;
}

static bool mixes(const char *text)
{
	return lookalike_mixes_scripts(text, strlen(text));
}

static void names_in_other_alphabets_have_a_latin_twin(void **state)
{
	assert_string_equal(twin_of_text("раураl.com"), "paypal.com");
	assert_string_equal(twin_of_text("аррӏе.com"), "apple.com");
	assert_string_equal(twin_of_text("gοοgle.com"), "google.com");
	assert_string_equal(twin_of_text("ɡoogle.com"), "google.com");
	assert_string_equal(twin_of_text("fácebook.com"), "facebook.com");
	assert_string_equal(twin_of_text("yօutube.com"), "youtube.com");
	assert_string_equal(twin_of_text("wiкipedia.org"), "wikipedia.org");
}

static void a_letter_without_a_twin_ends_it(void **state)
{
	assert_null(twin_of_text("яндекс.рф"));
	assert_null(twin_of_text("школа.com"));
	assert_null(twin_of_text("日本.jp"));
	assert_null(twin_of_text("straße.de"));
	assert_null(twin_of_text("paypal.com"));
	assert_null(twin_of_text(""));
}

static void alphabets_that_look_alike_are_not_mixed_in_a_label(void **state)
{
	assert_true(mixes("pаypal.com")); /* one Cyrillic letter */
	assert_true(mixes("www.gοogle.com"));
	assert_true(mixes("аωх.com"));
	assert_false(mixes("школа.example.com"));
	assert_false(mixes("café-münchen.de"));
	assert_false(mixes("школа-2026.рф"));
}

static void how_people_write_is_no_mixture(void **state)
{
	assert_false(mixes("日本語tv.jp"));
	assert_false(mixes("한국abc.kr"));
	assert_false(mixes("שלוםtv.co.il"));
	assert_false(mixes("ไทยabc.th"));
}

static void accents_are_latin(void **state)
{
	assert_true(lookalike_is_latin("münchen.de", strlen("münchen.de")));
	assert_true(lookalike_is_latin("日本.jp", strlen("日本.jp")));
	assert_false(lookalike_is_latin("pаypal.com", strlen("pаypal.com")));
}

static void broken_utf8_is_neither(void **state)
{
	assert_false(mixes("a\xff\xd0\xb0.com"));
	assert_false(mixes("a\xd0"));
	assert_false(mixes("\xf4"));
	assert_null(twin_of_text("a\xd0"));
	assert_null(twin_of_text("\x80oogle.com"));
	assert_null(twin_of_text("\xf0\x90oogle"));
}

static void names_are_read_as_people_read_them(void **state)
{
	char text[NAME_TEXT_MAX], long_label[200] = "xn--";
	struct name name;

	assert_int_equal(name_from_user_text(&name, "www.раураl.com", strlen("www.раураl.com")), 0);
	assert_true(name_has_alabel(&name));
	assert_int_equal(name_to_unicode(&name, text), strlen("www.раураl.com"));
	assert_string_equal(text, "www.раураl.com");
	assert_int_equal(name_from_text(&name, "xn--.xn--a\\255.www.plain.example", 32), 0);
	name_to_unicode(&name, text);
	assert_string_equal(text, "xn--.xn--a\xff.www.plain.example");
	assert_int_equal(name_from_text(&name, "WWW.plain.example", 17), 0);
	assert_false(name_has_alabel(&name));
	assert_int_equal(name_from_text(&name, ".", 1), 0);
	assert_int_equal(name_to_unicode(&name, text), 0);
	/* four labels of 63 octets, as long as they decode to */
	memset(long_label + 4, 'a', 59);
	strcpy(long_label + 63, ".xn--9999999999999999999999999999999999999999999999999999999999.a.b");
	assert_int_equal(name_from_text(&name, long_label, strlen(long_label)), 0);
	assert_true(name_to_unicode(&name, text) < NAME_TEXT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_in_other_alphabets_have_a_latin_twin),
		cmocka_unit_test(a_letter_without_a_twin_ends_it),
		cmocka_unit_test(alphabets_that_look_alike_are_not_mixed_in_a_label),
		cmocka_unit_test(how_people_write_is_no_mixture),
		cmocka_unit_test(accents_are_latin),
		cmocka_unit_test(broken_utf8_is_neither),
		cmocka_unit_test(names_are_read_as_people_read_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
