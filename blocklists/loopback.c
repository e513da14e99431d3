#include "loopback.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static bool is_this_machine4(const uint8_t address[4])
{
	return address[0] == 127 || address[0] == 0 || (address[0] == 169 && address[1] == 254);
}

static bool is_this_machine6(const struct in6_addr *address)
{
	if (IN6_IS_ADDR_V4MAPPED(address))
		return is_this_machine4(address->s6_addr + 12);
	return IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address) ||
	       IN6_IS_ADDR_LINKLOCAL(address);
}

bool loopback_address(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return is_this_machine4((const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr);
	if (address->sa_family == AF_INET6)
		return is_this_machine6(&((const struct sockaddr_in6 *)address)->sin6_addr);
	return true;
}

static bool host_is_this_machine(char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	size_t len = strlen(host);

	if (len > 0 && host[len - 1] == '.')
		host[--len] = '\0';
	if (strcasecmp(host, "localhost") == 0 ||
	        (len > 10 && strcasecmp(host + len - 10, ".localhost") == 0))
		return true;
	if (len > 2 && host[0] == '[') {
		host[strcspn(host, "]%")] = '\0';
		return inet_pton(AF_INET6, host + 1, &v6) == 1 && is_this_machine6(&v6);
	}
	return inet_pton(AF_INET, host, &v4) == 1 && is_this_machine4((const uint8_t *)&v4);
}

/* Judged by curl's own reading of the URL, which makes 127.0.0.1 of 0x7f.1. */
bool loopback_url(const char *url)
{
	CURLU *parts = curl_url();
	char *host = NULL;
	bool is = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	          curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK && host_is_this_machine(host);

	curl_free(host);
	curl_url_cleanup(parts);
	return is;
}
