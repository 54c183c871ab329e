/* The bridge to the system's MPI: all that a training on several processes needs. An error within MPI ends all processes, which is MPI's own default. */
#pragma once
#include <stdint.h>

#define PFM_ABI_VERSION 1
#define PFM_API __attribute__((visibility("default")))

PFM_API int pfm_abi_version(void);

/* Joins the processes that were started together. 0, or -1 where this MPI cannot be called from more than its first thread. */
PFM_API int pfm_start(int *rank, int *size);

/* All processes' parts, in the order of the processes: bytes from each. */
PFM_API void pfm_gather(const void *mine, void *all, int bytes);

/* Each number becomes its sum over the processes, added in the order of the processes: the same bits on each of them, and in every run with as many. 0, or -1 where memory ran out. */
PFM_API int pfm_sum(float *values, int64_t count);

/* Returns when all processes have come here; sleeps meanwhile. */
PFM_API void pfm_wait(void);

/* Ends all processes with an exit code. */
PFM_API void pfm_abort(int code);

/* Leaves, when all do. */
PFM_API void pfm_finish(void);
