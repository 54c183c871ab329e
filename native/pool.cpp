// Threads. The pool is ours and not OpenMP's for one reason: whoever hands out work takes part in it and waits only for pieces that another thread has begun, never
// for a thread that has not woken up. On a busy machine that is the difference between a little slower and many times slower, since an OpenMP region ends when every
// thread of the team has been there. libtorch's own OpenMP threads stay asleep meanwhile (Engine.cs asks them not to spin), so the two never spin against each other.
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <mutex>
#include <thread>

#include "kernels.h"

namespace permafrost::kernels {

namespace {

// What other threads are woken for, about 10 microseconds of one thread's work.
constexpr double kWorthwhile = 2e6;

// A thread without work spins so long before it sleeps: longer than what lies between two kernels of a training step.
constexpr auto kSpin = std::chrono::microseconds(50);

std::atomic<int> wanted{1};

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

long futex(std::atomic<uint32_t>* address, int operation, uint32_t value) { return syscall(SYS_futex, address, operation, value, nullptr, nullptr, 0); }

// One job at a time. `state` holds the job's number in its upper half and the next piece in its lower, so that a thread which comes late cannot take a piece of the
// next job for one of the last: its exchange fails.
struct Pool {
    std::mutex owner;
    std::atomic<uint64_t> state{0};
    std::atomic<int64_t> tasks{0};
    std::atomic<void*> context{nullptr};
    std::atomic<Task> run{nullptr};
    std::atomic<int64_t> done{0};
    std::atomic<int> helpers{0};  // how many of the threads may take part
    std::atomic<uint32_t> number{0};
    std::atomic<int> asleep{0};
    int started = 0;

    // Takes pieces of the current job until there are none.
    void work() {
        for (;;) {
            uint64_t seen = state.load(std::memory_order_acquire);
            const int64_t task = static_cast<uint32_t>(seen), count = tasks.load(std::memory_order_acquire);
            void* const what = context.load(std::memory_order_relaxed);
            const Task how = run.load(std::memory_order_relaxed);
            if (task >= count) return;
            if (!state.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) continue;
            how(what, task);
            done.fetch_add(1, std::memory_order_release);
        }
    }

    void serve(int index) {
        uint32_t last = 0;
        for (;;) {
            const auto until = std::chrono::steady_clock::now() + kSpin;
            while (number.load(std::memory_order_acquire) == last) {
                for (int i = 0; i < 64 && number.load(std::memory_order_relaxed) == last; i++) relax();
                if (std::chrono::steady_clock::now() < until) continue;
                asleep.fetch_add(1);
                futex(&number, FUTEX_WAIT_PRIVATE, last);
                asleep.fetch_sub(1);
            }
            last = number.load(std::memory_order_acquire);
            if (index < helpers.load(std::memory_order_relaxed)) work();
        }
    }

    void run_job(int64_t count, void* what, Task how, int team) {
        for (; started < team - 1; started++) std::thread([this, index = started] { serve(index); }).detach();
        done.store(0, std::memory_order_relaxed);
        helpers.store(team - 1, std::memory_order_relaxed);
        const uint64_t job = (state.load(std::memory_order_relaxed) >> 32) + 1;
        // Without pieces until everything is there.
        tasks.store(0, std::memory_order_relaxed);
        state.store(job << 32, std::memory_order_release);
        context.store(what, std::memory_order_relaxed);
        run.store(how, std::memory_order_relaxed);
        tasks.store(count, std::memory_order_release);
        number.fetch_add(1);
        if (asleep.load() > 0) futex(&number, FUTEX_WAKE_PRIVATE, INT_MAX);
        work();
        for (int spins = 0; done.load(std::memory_order_acquire) < count; spins++) {
            if (spins < 2000) relax();
            else sched_yield();
        }
    }
};

// Never destroyed: its threads may outlive the statics.
Pool& pool() {
    static Pool* const instance = new Pool;
    return *instance;
}

}  // namespace

int threads() { return wanted.load(std::memory_order_relaxed); }

void run_tasks(int64_t tasks, double work, void* context, Task run) {
    const int team = static_cast<int>(tasks < threads() ? tasks : threads());
    if (team > 1 && work >= kWorthwhile && tasks < UINT32_MAX) {
        Pool& p = pool();
        // Two trainings at once: the second one computes alone.
        const std::unique_lock<std::mutex> mine(p.owner, std::try_to_lock);
        if (mine.owns_lock()) return p.run_job(tasks, context, run, team);
    }
    for (int64_t task = 0; task < tasks; task++) run(context, task);
}

}  // namespace permafrost::kernels

void pf_threads_set(int32_t threads) { permafrost::kernels::wanted = threads < 1 ? 1 : threads > 256 ? 256 : threads; }
