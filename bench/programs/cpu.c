/*-------------------------------------------------------------------------
 *
 * cpu.c
 *	  Print the CPU time of processes so far, in nanoseconds in all.
 *
 *	  cpu PID...
 *
 * /proc/PID/stat counts in hundredths of a second; the clock that the kernel
 * keeps for each process is exact.
 *
 *-------------------------------------------------------------------------
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int
main(int argc, char **argv)
{
	clockid_t	clock;
	struct timespec cpu;
	long long	total = 0;

	if (argc < 2)
		errx(1, "usage: cpu PID...");
	for (int i = 1; i < argc; i++)
	{
		if (clock_getcpuclockid(atoi(argv[i]), &clock) != 0 ||
			clock_gettime(clock, &cpu) != 0)
			errx(1, "no process %s", argv[i]);
		total += (long long) cpu.tv_sec * 1000000000 + cpu.tv_nsec;
	}
	printf("%lld\n", total);
	return 0;
}
