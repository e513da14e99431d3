/*
 * Rows are gone through from the newest to the oldest. A span of an address begins with a row that is the
 * device's, grows with those before it, and is closed by one that is another's: so what comes into the log
 * between two of its rows is the device's too, and what comes in behind its newest, unless a newer one was
 * another's. Of which addresses that was so is kept as bits of their hashes: two that share one cost nothing
 * but a row that was not in the log yet.
 */
#include "device_spans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "devices.h"

#define OTHERS_BITS 65536

struct finding {
	struct erasure *erasure;
	struct devices *devices;
	bool is_open[ERASURE_SPANS_MAX];
	uint64_t others[OTHERS_BITS / 64]; /* addresses with a row that is not the device's */
	int64_t rows;
	int ret;
};

/* The newest span of an address, or -1. */
static int span_of(const struct finding *finding, const uint8_t client[16])
{
	for (size_t i = finding->erasure->span_count; i-- > 0;)
		if (memcmp(finding->erasure->spans[i].client, client, 16) == 0)
			return (int)i;
	return -1;
}

static uint64_t *others_bit(struct finding *finding, const uint8_t client[16], uint64_t *bit)
{
	uint64_t hash = XXH3_64bits(client, 16);

	*bit = UINT64_C(1) << hash % 64;
	return &finding->others[hash / 64 % (OTHERS_BITS / 64)];
}

static bool take(struct finding *finding, const struct block_item *item, int span)
{
	struct erasure *erasure = finding->erasure;
	uint64_t bit, *others = others_bit(finding, item->client, &bit);

	finding->rows++;
	if (span >= 0 && finding->is_open[span]) {
		erasure->spans[span].since_us = item->time_us;
		return true;
	}
	if (erasure->span_count == ERASURE_SPANS_MAX) {
		finding->ret = -E2BIG;
		return false;
	}
	struct erasure_span *begun = &erasure->spans[erasure->span_count];
	memcpy(begun->client, item->client, sizeof begun->client);
	begun->since_us = item->time_us;
	/* the newest rows of all may not be in the log yet */
	begun->until_us = span < 0 && !(*others & bit) ? erasure->filter.until_us : item->time_us + 1;
	finding->is_open[erasure->span_count++] = true;
	return true;
}

static bool found(void *arg, const struct block_item *item)
{
	struct finding *finding = arg;
	struct device device;

	if (!item->client)
		return true;
	int span = span_of(finding, item->client);
	devices_find(finding->devices, item->client, item->time_us, &device);
	if (device_is(&device, finding->erasure->device))
		return take(finding, item, span);
	if (span >= 0)
		finding->is_open[span] = false;
	uint64_t bit, *others = others_bit(finding, item->client, &bit);
	*others |= bit;
	return true;
}

int64_t device_spans_find(struct erasure *erasure, const char *log_dir)
{
	struct finding *finding = calloc(1, sizeof *finding);

	erasure->spans = calloc(ERASURE_SPANS_MAX, sizeof *erasure->spans);
	if (finding)
		finding->devices = devices_beside(log_dir);
	int64_t ret = -ENOMEM;
	if (finding && finding->devices && erasure->spans) {
		finding->erasure = erasure;
		ret = block_scan_items(log_dir, &erasure->filter, false, found, finding);
		ret = ret < 0 ? ret : finding->ret < 0 ? finding->ret : finding->rows;
	}
	if (finding)
		devices_free(finding->devices);
	free(finding);
	return ret;
}
