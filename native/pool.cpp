// Threads. The process has one pool, libtorch's OpenMP runtime, found among the loaded libraries at run time: a second one would spin against it on the cores
// that it needs. Nothing here links to OpenMP.
#include <dlfcn.h>
#include <link.h>

#include <atomic>
#include <cstring>

#include "kernels.h"

namespace permafrost::kernels {

namespace {

// What the threads of a pool are woken for, about 20 microseconds of one thread's work.
constexpr double kWorthwhile = 4e6;

using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);  // GOMP_parallel of libgomp, LLVM's and Intel's runtimes

Parallel find_pool() {
    std::string path;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* found) {
            const char* name = std::strrchr(info->dlpi_name, '/');
            if (name == nullptr || std::strncmp(name, "/libgomp", 8) != 0) return 0;
            *static_cast<std::string*>(found) = info->dlpi_name;
            return 1;
        },
        &path);
    void* library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
    return library == nullptr ? nullptr : reinterpret_cast<Parallel>(dlsym(library, "GOMP_parallel"));
}

Parallel pool() {
    static const Parallel found = find_pool();
    return found;
}

std::atomic<int> count{1};

struct Job {
    std::atomic<int64_t> next{0};
    int64_t tasks;
    void* context;
    Task run;
};

void work_on(void* data) {
    Job& job = *static_cast<Job*>(data);
    for (int64_t task; (task = job.next.fetch_add(1, std::memory_order_relaxed)) < job.tasks;) job.run(job.context, task);
}

}  // namespace

int threads() { return pool() == nullptr ? 1 : count.load(std::memory_order_relaxed); }

void run_tasks(int64_t tasks, double work, void* context, Task run) {
    const int most = threads();
    const int64_t wanted = tasks < most ? tasks : most;
    if (wanted <= 1 || work < kWorthwhile) {
        for (int64_t task = 0; task < tasks; task++) run(context, task);
        return;
    }
    Job job;
    job.tasks = tasks;
    job.context = context;
    job.run = run;
    pool()(work_on, &job, static_cast<unsigned>(wanted), 0);
}

}  // namespace permafrost::kernels

void pf_threads_set(int32_t threads) { permafrost::kernels::count = threads < 1 ? 1 : threads; }
const char* pf_pool(void) { return permafrost::kernels::pool() == nullptr ? "none" : "openmp"; }
