/*-------------------------------------------------------------------------
 *
 * cpu.c
 *	  Print the CPU time of a process so far, in nanoseconds.
 *
 *	  cpu PID
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

	if (argc != 2)
		errx(1, "usage: cpu PID");
	if (clock_getcpuclockid(atoi(argv[1]), &clock) != 0 ||
		clock_gettime(clock, &cpu) != 0)
		errx(1, "no process %s", argv[1]);
	printf("%lld\n", (long long) cpu.tv_sec * 1000000000 + cpu.tv_nsec);
	return 0;
}
