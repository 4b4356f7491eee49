// SPDX-License-Identifier: MIT
/*
 * /etc/lichen.conf: one device a line, words apart by blanks, '#' starts a comment. The n-th device
 * is slot n.
 *
 *     blk DEVICE [queues=auto|N] [readonly] [id=TEXT] [poll=auto|always|never] [without=FEATURE,...]
 *     console port0=DEVICE [portN=DEVICE]... [size=COLUMNSxROWS]
 *     rng DEVICE
 *     echo [queues=auto|N]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon.h"

/* The line being parsed, and the first thing wrong with it. */
struct parser {
	struct config_line *line;
	char message[256];
};

#define WRONG(parser, ...) \
	(snprintf((parser)->message, sizeof((parser)->message), __VA_ARGS__), false)

/* 0 < result <= limit, or 0 for anything else. */
static unsigned int number(const char *text, unsigned int limit)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return 0;
	value = strtoul(text, &end, 10);
	return *end || value > limit ? 0 : value;
}

static bool set_path(struct parser *parser, char *to, const char *path)
{
	if (path[0] != '/')
		return WRONG(parser, "'%s' is no absolute path", path);
	if (strlen(path) >= CONFIG_PATH)
		return WRONG(parser, "a path of more than %d bytes", CONFIG_PATH - 1);
	strcpy(to, path);
	return true;
}

static bool queues_word(struct parser *parser, const char *value)
{
	parser->line->queues = number(value, LICHEN_QUEUES);
	return parser->line->queues || !strcmp(value, "auto") ||
	       WRONG(parser, "queues= takes 'auto' or 1 to %d, not '%s'", LICHEN_QUEUES, value);
}

/* What `without=` takes: the names of virtio 1.2, 2.7 and 5.2.3, in small letters. */
static const struct {
	const char *name;
	unsigned int bit;
} features[] = {
	{"indirect_desc", VIRTIO_RING_F_INDIRECT_DESC},
	{"event_idx", VIRTIO_RING_F_EVENT_IDX},
	{"seg_max", VIRTIO_BLK_F_SEG_MAX},
	{"blk_size", VIRTIO_BLK_F_BLK_SIZE},
	{"flush", VIRTIO_BLK_F_FLUSH},
	{"topology", VIRTIO_BLK_F_TOPOLOGY},
	{"mq", VIRTIO_BLK_F_MQ},
	{"discard", VIRTIO_BLK_F_DISCARD},
	{"write_zeroes", VIRTIO_BLK_F_WRITE_ZEROES},
};

static bool without_names(struct parser *parser, const char *names)
{
	for (;;) {
		size_t length = strcspn(names, ",");
		unsigned int i;

		for (i = 0; i < sizeof(features) / sizeof(features[0]); i++)
			if (strlen(features[i].name) == length &&
				!strncmp(names, features[i].name, length))
				break;
		if (i == sizeof(features) / sizeof(features[0]))
			return WRONG(parser, "without= does not know the feature '%.*s'",
				(int)length, names);
		parser->line->without |= 1ull << features[i].bit;
		if (!names[length])
			return true;
		names += length + 1;
	}
}

static bool poll_word(struct parser *parser, const char *value)
{
	static const char *const words[] = {
		[BACKEND_POLL_AUTO] = "auto",
		[BACKEND_POLL_ALWAYS] = "always",
		[BACKEND_POLL_NEVER] = "never",
	};

	for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(value, words[i])) {
			parser->line->poll = i;
			return true;
		}
	return WRONG(parser, "poll= takes 'auto', 'always' or 'never', not '%s'", value);
}

static bool block_word(struct parser *parser, const char *word)
{
	struct config_line *line = parser->line;

	if (!line->path[0])
		return set_path(parser, line->path, word);
	if (!strcmp(word, "readonly")) {
		line->read_only = true;
		return true;
	}
	if (!strncmp(word, "queues=", 7))
		return queues_word(parser, word + 7);
	if (!strncmp(word, "id=", 3)) {
		if (!word[3] || strlen(word + 3) >= sizeof(line->id))
			return WRONG(parser, "id= takes 1 to %zu bytes", sizeof(line->id) - 1);
		strcpy(line->id, word + 3);
		return true;
	}
	if (!strncmp(word, "poll=", 5))
		return poll_word(parser, word + 5);
	if (!strncmp(word, "without=", 8))
		return without_names(parser, word + 8);
	return WRONG(parser, "blk does not know '%s'", word);
}

static bool console_word(struct parser *parser, const char *word)
{
	struct config_line *line = parser->line;
	const char *equals = strchr(word, '=');
	unsigned int port;

	if (!strncmp(word, "port", 4) && equals) {
		char digits[8] = "";

		snprintf(digits, sizeof(digits), "%.*s", (int)(equals - word - 4), word + 4);
		port = number(digits, CONFIG_PORTS - 1);
		if (!port && strcmp(digits, "0"))
			return WRONG(parser, "ports are port0 to port%d", CONFIG_PORTS - 1);
		if (line->port[port][0])
			return WRONG(parser, "port%u is given twice", port);
		return set_path(parser, line->port[port], equals + 1);
	}
	if (!strncmp(word, "size=", 5)) {
		char end;

		if (sscanf(word + 5, "%ux%u%c", &line->columns, &line->rows, &end) == 2 &&
			line->columns && line->rows && line->columns < 65536 && line->rows < 65536)
			return true;
		return WRONG(parser, "size= takes COLUMNSxROWS, not '%s'", word + 5);
	}
	return WRONG(parser, "console does not know '%s'", word);
}

static bool rng_word(struct parser *parser, const char *word)
{
	if (parser->line->path[0])
		return WRONG(parser, "rng does not know '%s'", word);
	return set_path(parser, parser->line->path, word);
}

static bool echo_word(struct parser *parser, const char *word)
{
	if (!strncmp(word, "queues=", 7))
		return queues_word(parser, word + 7);
	return WRONG(parser, "echo does not know '%s'", word);
}

static const struct {
	const char *name;
	enum config_kind kind;
	bool (*word)(struct parser *parser, const char *word);
} kinds[] = {
	{"blk", CONFIG_BLOCK, block_word},
	{"console", CONFIG_CONSOLE, console_word},
	{"rng", CONFIG_RNG, rng_word},
	{"echo", CONFIG_ECHO, echo_word},
};

/* One line, without its comment. True for a device; an empty line leaves the message empty. */
static bool parse_line(struct parser *parser, char *text)
{
	struct config_line *line = parser->line;
	char *rest, *word = strtok_r(text, " \t\r", &rest);
	unsigned int k;

	if (!word)
		return false;
	for (k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		if (!strcmp(word, kinds[k].name))
			break;
	if (k == sizeof(kinds) / sizeof(kinds[0]))
		return WRONG(parser, "unknown device '%s' (blk, console, rng, echo)", word);
	line->kind = kinds[k].kind;
	while ((word = strtok_r(NULL, " \t\r", &rest)))
		if (!kinds[k].word(parser, word))
			return false;
	if (line->kind == CONFIG_ECHO)
		return true;
	if (line->kind == CONFIG_CONSOLE ? !line->port[0][0] : !line->path[0])
		return WRONG(parser, line->kind == CONFIG_CONSOLE ? "console needs port0="
								  : "a device path is missing");
	return true;
}

unsigned int config_parse(
	struct config *config, const char *text, void (*error)(unsigned int, const char *))
{
	unsigned int number = 0, wrong = 0, slot = 0;

	config->count = 0;
	while (*text) {
		size_t length = strcspn(text, "\n"), used = strcspn(text, "#\n");
		char copy[4096];
		struct config_line line = {.line = ++number};
		struct parser parser = {.line = &line};
		bool device = false;

		if (used >= sizeof(copy)) {
			snprintf(parser.message, sizeof(parser.message),
				"a line of more than %zu bytes", sizeof(copy) - 1);
		} else {
			memcpy(copy, text, used);
			copy[used] = 0;
			device = parse_line(&parser, copy);
		}
		text += length + (text[length] == '\n');
		if (device && slot == LICHEN_SLOTS) {
			device = false;
			snprintf(parser.message, sizeof(parser.message), "more than %d devices",
				LICHEN_SLOTS);
		}
		if (device) {
			line.slot = slot;
			config->lines[config->count++] = line;
		}
		/*
		 * A line that is wrong keeps its slot, so that those after it do not change their
		 * names.
		 */
		if (device || parser.message[0])
			slot += slot < LICHEN_SLOTS;
		if (parser.message[0]) {
			wrong++;
			error(number, parser.message);
		}
	}
	return wrong;
}
