/*
 * save_file.c
 *		Writing and reading a file of records that wait to be sent.
 *
 * Runs in the postmaster (save.c) and in backends (put/load_saved_sql.c).
 */
#include "postgres.h"

#include "queue/save_file.h"

void
save_file_begin(SaveFile *save, FILE *file)
{
	save->file = file;
	INIT_CRC32C(save->crc);
}

void
save_file_put(SaveFile *save, const void *data, Size length)
{
	(void) fwrite(data, 1, length, save->file);
	COMP_CRC32C(save->crc, data, length);
}

bool
save_file_put_end(SaveFile *save)
{
	FIN_CRC32C(save->crc);
	errno = ENOSPC;				/* unless the calls know better */
	(void) fwrite(&save->crc, 1, sizeof(save->crc), save->file);
	return fflush(save->file) == 0 && !ferror(save->file);
}

bool
save_file_get(SaveFile *save, void *to, Size length)
{
	if (fread(to, 1, length, save->file) != length)
		return false;
	COMP_CRC32C(save->crc, to, length);
	return true;
}

const char *
save_file_get_end(SaveFile *save)
{
	pg_crc32c	stored;

	FIN_CRC32C(save->crc);
	if (fread(&stored, 1, sizeof(stored), save->file) != sizeof(stored))
		return "it is cut short";
	if (!EQ_CRC32C(save->crc, stored))
		return "its checksum is wrong";
	if (fgetc(save->file) != EOF)
		return "it is longer than it says";
	return NULL;
}
