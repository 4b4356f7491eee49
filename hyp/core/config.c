/* SPDX-License-Identifier: MIT */
/*
 * Parses domains.conf. Every mistake is one clear sentence with its line; nothing is guessed.
 */
#include <string.h>
#include <asm/errno.h>

#include "config.h"

#define POOL_PERCENT_DEFAULT 40
#define SLOTS_DEFAULT	     8
#define SLOTS_MAX	     32
#define TRACE_MAX	     (2 * MIB) /* of the hypervisor's own memory */
#define INTID_SPI_FIRST	     32
#define INTID_SPI_LAST	     1019

struct word {
	const char *at;
	size_t size;
};

struct parser {
	const char *at, *end; /* the rest of the line */
	u32 line;
	u32 cpus;
	struct config *config;
	struct domain_config *domain;
	struct config_error *error;
};

int config_error_set(struct config_error *error, u32 line, const char *text, const char *detail)
{
	size_t limit = sizeof(error->text) - 1, at = 0;

	error->line = line;
	while (*text && at < limit)
		error->text[at++] = *text++;
	if (detail) {
		for (const char *colon = ": "; *colon && at < limit;)
			error->text[at++] = *colon++;
		while (*detail && at < limit)
			error->text[at++] = *detail++;
	}
	error->text[at] = '\0';
	return -EINVAL;
}

static int fail(struct parser *p, const char *text, struct word word)
{
	char detail[48];
	size_t n = MIN(word.size, sizeof(detail) - 1);

	if (!n) /* and then there may be no address either */
		return config_error_set(p->error, p->line, text, NULL);
	memcpy(detail, word.at, n);
	detail[n] = '\0';
	return config_error_set(p->error, p->line, text, detail);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct word next_word(struct parser *p)
{
	struct word word;

	while (p->at < p->end && is_space(*p->at))
		p->at++;
	word.at = p->at;
	while (p->at < p->end && !is_space(*p->at) && *p->at != '#')
		p->at++;
	word.size = p->at - word.at;
	if (!word.size)
		p->at = p->end; /* nothing, or a comment */
	return word;
}

static bool word_is(struct word word, const char *text)
{
	return word.size == strlen(text) && !memcmp(word.at, text, word.size);
}

/* Takes decimal digits off the front of *word. False when there are none, or too many. */
static bool take_number(struct word *word, u64 *value)
{
	size_t i = 0;

	*value = 0;
	while (i < word->size && word->at[i] >= '0' && word->at[i] <= '9') {
		if (*value > (1ull << 40))
			return false;
		*value = *value * 10 + (word->at[i++] - '0');
	}
	word->at += i;
	word->size -= i;
	return i > 0;
}

static bool take_char(struct word *word, char c)
{
	if (!word->size || *word->at != c)
		return false;
	word->at++;
	word->size--;
	return true;
}

/* A number with K, M or G. */
static bool parse_size(struct word word, u64 *value)
{
	if (!take_number(&word, value) || *value >= 1ull << 30)
		return false;
	if (take_char(&word, 'K') || take_char(&word, 'k'))
		*value *= KIB;
	else if (take_char(&word, 'M') || take_char(&word, 'm'))
		*value *= MIB;
	else if (take_char(&word, 'G') || take_char(&word, 'g'))
		*value *= GIB;
	return !word.size && *value < 1ull << 48;
}

static int parse_name(struct parser *p, struct word word, char *to, size_t limit)
{
	if (!word.size)
		return fail(p, "a name is missing", word);
	if (word.size >= limit)
		return fail(p, "this name is too long", word);
	memcpy(to, word.at, word.size);
	to[word.size] = '\0';
	return 0;
}

static int parse_pool(struct parser *p)
{
	struct word word = next_word(p), rest = word;
	u64 value;

	p->config->pool_line = p->line;
	if (take_number(&rest, &value) && word_is(rest, "%")) {
		if (value < 1 || value > 90)
			return fail(p, "the pool's share must be 1% to 90%", word);
		p->config->pool_percent = value;
		p->config->pool = 0;
		return 0;
	}
	if (!parse_size(word, &value) || !value)
		return fail(p, "a size (256M) or a share (40%) is expected", word);
	p->config->pool_percent = 0;
	p->config->pool = value;
	return 0;
}

static int parse_trace(struct parser *p)
{
	struct word word = next_word(p);
	u64 value;

	if (!parse_size(word, &value) || value < PAGE_SIZE || value & (value - 1))
		return fail(p, "a power of two from 4K on is expected", word);
	if (p->cpus * 2 * (value + PAGE_SIZE) > TRACE_MAX)
		return fail(p, "with two rings a CPU that is more than 2M", word);
	p->config->trace = value;
	return 0;
}

static int parse_spare_spis(struct parser *p)
{
	struct word word = next_word(p), rest = word;
	u64 first, last;

	if (!take_number(&rest, &first) || !take_char(&rest, '-') || !take_number(&rest, &last) ||
		rest.size)
		return fail(p, "a range of INTIDs (192-223) is expected", word);
	if (first < INTID_SPI_FIRST || last > INTID_SPI_LAST || first > last)
		return fail(p, "SPIs have the INTIDs 32 to 1019", word);
	p->config->spare_first = first;
	p->config->spare_last = last;
	p->config->spare_line = p->line;
	return 0;
}

static int parse_domain(struct parser *p)
{
	struct domain_config *domain;
	struct word word = next_word(p);
	int err;

	if (p->config->domains == HYP_DOMAINS)
		return fail(p, "there are too many domains", word);
	domain = &p->config->domain[p->config->domains];
	err = parse_name(p, word, domain->name, sizeof(domain->name));
	if (err)
		return err;
	for (u32 i = 0; i < p->config->domains; i++)
		if (!strcmp(p->config->domain[i].name, domain->name))
			return fail(p, "this domain is there twice", word);
	domain->line = p->line;
	domain->slots = SLOTS_DEFAULT;
	domain->signal_sgi = true;
	p->config->domains++;
	p->domain = domain;
	return 0;
}

/* "0,2-3" or "1-" */
static int parse_cpus(struct parser *p)
{
	struct word word = next_word(p), rest = word;
	u64 set = 0;

	do {
		u64 first, last;

		if (!take_number(&rest, &first))
			return fail(p, "a list of CPUs (0,2-3 or 1-) is expected", word);
		last = first;
		if (take_char(&rest, '-') && !take_number(&rest, &last))
			last = MAX(first, (u64)p->cpus - 1);
		if (first >= p->cpus || last >= p->cpus || last < first)
			return fail(p, "the machine has no such CPU", word);
		for (u64 cpu = first; cpu <= last; cpu++)
			set |= BIT(cpu);
	} while (take_char(&rest, ','));
	if (rest.size)
		return fail(p, "a list of CPUs (0,2-3 or 1-) is expected", word);
	for (u32 i = 0; i < p->config->domains; i++)
		if (&p->config->domain[i] != p->domain && (p->config->domain[i].cpus & set))
			return fail(p, "another domain has a CPU of these", word);
	p->domain->cpus = set;
	return 0;
}

static int parse_memory(struct parser *p)
{
	struct word word = next_word(p);

	p->domain->memory_line = p->line;
	if (word_is(word, "rest"))
		p->domain->memory = 0;
	else if (!parse_size(word, &p->domain->memory) || p->domain->memory < BLOCK_SIZE)
		return fail(p, "a size (192M) or \"rest\" is expected", word);
	return 0;
}

static int parse_cmdline(struct parser *p)
{
	while (p->at < p->end && is_space(*p->at))
		p->at++;
	while (p->end > p->at && is_space(p->end[-1]))
		p->end--;
	if ((size_t)(p->end - p->at) >= sizeof(p->domain->cmdline))
		return fail(p, "the command line is too long", (struct word){0});
	memcpy(p->domain->cmdline, p->at, p->end - p->at);
	p->domain->cmdline[p->end - p->at] = '\0';
	p->at = p->end;
	return 0;
}

static int parse_slots(struct parser *p)
{
	struct word word = next_word(p), rest = word;
	u64 value;

	if (!take_number(&rest, &value) || rest.size || value > SLOTS_MAX)
		return fail(p, "a number up to 32 is expected", word);
	p->domain->slots = value;
	return 0;
}

/* Statements with one of two words: true for the first. */
static int parse_choice(struct parser *p, const char *yes, const char *no, bool *value)
{
	struct word word = next_word(p);

	if (!word_is(word, yes) && !word_is(word, no))
		return fail(p, "this word is not known here", word);
	*value = word_is(word, yes);
	return 0;
}

static int parse_domain_statement(struct parser *p, struct word word)
{
	struct domain_config *domain = p->domain;

	if (word_is(word, "role"))
		return parse_choice(p, "driver", "frontend", &domain->driver);
	if (word_is(word, "cpus"))
		return parse_cpus(p);
	if (word_is(word, "memory"))
		return parse_memory(p);
	if (word_is(word, "kernel")) {
		domain->kernel_line = p->line;
		return parse_name(p, next_word(p), domain->kernel, sizeof(domain->kernel));
	}
	if (word_is(word, "initrd")) {
		domain->initrd_line = p->line;
		return parse_name(p, next_word(p), domain->initrd, sizeof(domain->initrd));
	}
	if (word_is(word, "cmdline"))
		return parse_cmdline(p);
	if (word_is(word, "slots"))
		return parse_slots(p);
	if (word_is(word, "signal"))
		return parse_choice(p, "sgi", "spi", &domain->signal_sgi);
	if (word_is(word, "start"))
		return parse_choice(p, "at-once", "when-ready", &domain->at_once);
	if (word_is(word, "share-memory"))
		domain->share_memory = true;
	else if (word_is(word, "sgi-filter"))
		domain->sgi_filter = true;
	else if (word_is(word, "wfi-trap"))
		domain->wfi_trap = true;
	else
		return fail(p, "this statement is not known", word);
	return 0;
}

static int parse_line(struct parser *p)
{
	struct word word = next_word(p);
	int err;

	if (!word.size)
		return 0;
	if (word_is(word, "pool"))
		err = parse_pool(p);
	else if (word_is(word, "trace"))
		err = parse_trace(p);
	else if (word_is(word, "spare-spis"))
		err = parse_spare_spis(p);
	else if (word_is(word, "domain"))
		err = parse_domain(p);
	else if (p->domain)
		err = parse_domain_statement(p, word);
	else
		err = fail(p, "no domain was begun for this statement", word);
	if (err)
		return err;
	word = next_word(p);
	return word.size ? fail(p, "this is too much", word) : 0;
}

/* What only the whole file can tell. */
static int config_check(struct config *config, struct config_error *error)
{
	const struct domain_config *driver = NULL, *rest = NULL, *pool_user = NULL;
	u32 slots = 0;

	for (u32 i = 0; i < config->domains; i++) {
		struct domain_config *d = &config->domain[i];

		if (!d->cpus)
			return config_error_set(error, d->line, "this domain has no CPUs", d->name);
		if (!d->kernel[0])
			return config_error_set(
				error, d->line, "this domain has no kernel", d->name);
		if (!d->memory_line)
			return config_error_set(
				error, d->line, "this domain has no memory", d->name);
		if (!d->memory) {
			if (rest)
				return config_error_set(error, d->memory_line,
					"two domains want the rest", d->name);
			rest = d;
		}
		if (d->driver) {
			if (driver)
				return config_error_set(
					error, d->line, "there are two driver domains", d->name);
			driver = d;
			d->slots = 0;
			continue;
		}
		slots += d->slots;
		if (slots > SLOTS_MAX)
			return config_error_set(
				error, d->line, "the domains have more than 32 slots", d->name);
		if (!d->share_memory) {
			if (pool_user)
				return config_error_set(error, d->line,
					"only one domain can use the pool, without share-memory",
					d->name);
			pool_user = d;
		}
	}
	if (!driver)
		return config_error_set(error, 0, "no domain has the driver role", NULL);
	return 0;
}

int config_parse(
	const char *text, size_t size, u32 cpus, struct config *config, struct config_error *error)
{
	struct parser p = {.cpus = MIN(cpus, HYP_CPUS), .config = config, .error = error};
	const char *at = text, *end = text + size;
	int err;

	memset(config, 0, sizeof(*config));
	config->pool_percent = POOL_PERCENT_DEFAULT;
	while (at < end) {
		const char *newline = memchr(at, '\n', end - at);

		p.line++;
		p.at = at;
		p.end = newline ? newline : end;
		at = newline ? newline + 1 : end;
		err = parse_line(&p);
		if (err)
			return err;
	}
	return config_check(config, error);
}
