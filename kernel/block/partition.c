// SPDX-License-Identifier: MIT
/*
 * Partition tables: GPT (UEFI 2.10, 5.3), both copies, with their checksums, and MBR with its chain of logical partitions.
 * What the disk says is bounds-checked; a table that is wrong is left alone with a message.
 */
#include <lichen/crc.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <asm/errno.h>
#include "block.h"

#define MBR_ENTRIES_AT	446
#define MBR_SIGNATURE_AT 510
#define MBR_GPT		0xee
#define LOGICAL_MAX	60
#define GPT_ENTRIES_MAX 1024u

struct mbr_entry {
	u8 status, first_chs[3], type, last_chs[3];
	u32 first, sectors;
} __packed;

struct gpt_header {
	u8 signature[8];
	u32 revision, header_bytes, header_crc, reserved;
	u64 my_block, other_block, first_usable, last_usable;
	u8 disk[16];
	u64 entries_block;
	u32 entry_count, entry_bytes, entries_crc;
} __packed;

struct gpt_entry {
	u8 type[16], unique[16];
	u64 first, last, attributes;
	u16 name[36];
} __packed;

struct gpt_table {
	u64 entries_sector;
	u32 count, entry_bytes, crc;
	bool usable;
};

/* The header in `page`, which was read from `block`: fills *table. */
static bool gpt_check_header(struct block_device *device, const char *page, u64 block, struct gpt_table *table)
{
	u32 per_block = device->logical_block / BLOCK_SECTOR, crc;
	struct gpt_header header;

	memcpy(&header, page, sizeof(header));
	if (memcmp(header.signature, "EFI PART", 8))
		return false;
	if (header.header_bytes < sizeof(header) || header.header_bytes > device->logical_block)
		return false;
	crc = header.header_crc;
	header.header_crc = 0;
	if (crc32(crc32(0, &header, sizeof(header)), page + sizeof(header), header.header_bytes - sizeof(header)) != crc ||
		header.my_block != block) {
		log_warn("%s: a GPT header has a wrong checksum or place", device->name);
		return false;
	}
	if (header.entry_bytes < sizeof(struct gpt_entry) || header.entry_bytes > PAGE_SIZE ||
		(header.entry_bytes & (header.entry_bytes - 1)) || header.entry_count > GPT_ENTRIES_MAX ||
		header.entries_block >= device->sectors / per_block) {
		log_warn("%s: a GPT that is larger than any real one is ignored", device->name);
		return false;
	}
	*table = (struct gpt_table){header.entries_block * per_block, header.entry_count, header.entry_bytes,
		header.entries_crc, true};
	return true;
}

static void gpt_add(struct block_device *device, const char *bytes, u32 number)
{
	static const u8 unused[16];
	u32 per_block = device->logical_block / BLOCK_SECTOR;
	struct block_device *partition;
	struct gpt_entry entry;

	memcpy(&entry, bytes, sizeof(entry));
	if (!memcmp(entry.type, unused, 16) || entry.last < entry.first || entry.last >= device->sectors / per_block)
		return;
	partition = partition_add(device, number, entry.first * per_block, (entry.last - entry.first + 1) * per_block);
	if (IS_ERR(partition))
		return;
	memcpy(partition->partition_uuid, entry.unique, 16);
	for (u32 i = 0; i < ARRAY_SIZE(entry.name) - 1; i++)
		partition->label[i] = entry.name[i] < 0x80 ? (char)entry.name[i] : '?';
}

/* Bytes of the table that the page at byte `at` holds. */
static u32 gpt_piece(const struct gpt_table *table, u64 at)
{
	return (u32)min((u64)table->count * table->entry_bytes - at, (u64)PAGE_SIZE);
}

/* Reads the whole table at `header block`: adds its partitions if its checksums are right. RESULT: partitions, or 0. */
ASYNC(gpt_scan, struct block_device *device; struct page *page; u64 block; struct gpt_table table;
	struct block_segment segment; u32 at; u32 bytes; u32 crc; u32 pass;)
{
	const char *data = page_address(f->page);
	u32 piece;

	ASYNC_BEGIN;
	BLOCK_READ_PAGE(f->device, f->block * (f->device->logical_block / BLOCK_SECTOR), f->device->logical_block);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (!gpt_check_header(f->device, page_address(f->page), f->block, &f->table))
		ASYNC_RETURN(0);
	f->bytes = f->table.count * f->table.entry_bytes;
	for (f->pass = 0; f->pass < 2; f->pass++) {
		for (f->at = 0; f->at < f->bytes; f->at += PAGE_SIZE) {
			BLOCK_READ_PAGE(f->device, f->table.entries_sector + f->at / BLOCK_SECTOR,
				align_up(gpt_piece(&f->table, f->at), f->device->logical_block));
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
			data = page_address(f->page);
			piece = gpt_piece(&f->table, f->at);
			if (f->pass == 0)
				f->crc = crc32(f->crc, data, piece);
			else
				for (u32 i = 0; i + f->table.entry_bytes <= piece; i += f->table.entry_bytes)
					gpt_add(f->device, data + i, (f->at + i) / f->table.entry_bytes + 1);
		}
		if (f->crc != f->table.crc) {
			log_warn("%s: a GPT has a wrong checksum", f->device->name);
			ASYNC_RETURN(0);
		}
	}
	ASYNC_RETURN(1);
	ASYNC_END;
}

static bool is_extended(u8 type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static struct mbr_entry mbr_entry(const struct page *page, u32 i)
{
	struct mbr_entry entry;

	memcpy(&entry, (const char *)page_address(page) + MBR_ENTRIES_AT + i * sizeof(entry), sizeof(entry));
	return entry;
}

static bool mbr_signature(const struct page *page)
{
	const u8 *data = page_address(page);

	return data[MBR_SIGNATURE_AT] == 0x55 && data[MBR_SIGNATURE_AT + 1] == 0xaa;
}

/* Logical partitions: a chain of tables, each with one partition and the next table. */
ASYNC(mbr_logical, struct block_device *device; struct page *page; u64 base; u64 at; u32 n;
	struct block_segment segment;)
{
	struct mbr_entry entry;
	u32 per_block;

	ASYNC_BEGIN;
	for (f->at = f->base; f->n < LOGICAL_MAX; f->n++) {
		BLOCK_READ_PAGE(f->device, f->at, f->device->logical_block);
		if (RESULT < 0 || !mbr_signature(f->page))
			break;
		per_block = f->device->logical_block / BLOCK_SECTOR;
		entry = mbr_entry(f->page, 0);
		if (entry.type && entry.sectors)
			partition_add(f->device, 5 + f->n, f->at + (u64)entry.first * per_block, (u64)entry.sectors * per_block);
		entry = mbr_entry(f->page, 1);
		if (!is_extended(entry.type) || !entry.first)
			break;
		f->at = f->base + (u64)entry.first * per_block;
	}
	ASYNC_END;
}

ASYNC_DEFINE(partitions_scan)
{
	struct mbr_entry entry;
	u32 per_block;
	bool gpt = false;

	ASYNC_BEGIN;
	if (f->device->sectors < 2 * (f->device->logical_block / BLOCK_SECTOR))
		ASYNC_RETURN(0);
	f->page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
	if (!f->page)
		ASYNC_RETURN(-ENOMEM);
	BLOCK_READ_PAGE(f->device, 0, f->device->logical_block);
	f->error = RESULT;
	if (f->error || !mbr_signature(f->page))
		goto done;
	gpt = false;
	for (u32 i = 0; i < 4; i++)
		gpt |= mbr_entry(f->page, i).type == MBR_GPT;
	if (gpt) {
		AWAIT(gpt_scan, .device = f->device, .page = f->page, .block = 1);
		if (RESULT)
			goto done;
		AWAIT(gpt_scan, .device = f->device, .page = f->page,
			.block = f->device->sectors / (f->device->logical_block / BLOCK_SECTOR) - 1);
		goto done;
	}
	per_block = f->device->logical_block / BLOCK_SECTOR;
	for (u32 i = 0; i < 4; i++) {
		entry = mbr_entry(f->page, i);
		if (!entry.type || !entry.sectors || (entry.status & 0x7f))
			continue;
		if (!is_extended(entry.type))
			partition_add(f->device, i + 1, (u64)entry.first * per_block, (u64)entry.sectors * per_block);
		else if (!f->first_extended)
			f->first_extended = (u64)entry.first * per_block;
	}
	if (f->first_extended)
		AWAIT(mbr_logical, .device = f->device, .page = f->page, .base = f->first_extended);
done:
	page_put(f->page);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
