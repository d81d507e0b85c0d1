// Runs the threads of a block: one after another where a kernel has no barriers, else on fibers that
// stop at every barrier and warp primitive. What a GPU leaves undefined ends the launch with a message.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fibers.h"

struct uint3 {
    unsigned x, y, z;
};
using dim3 = uint3;

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulation {

constexpr int MAX_THREADS = 1024;

// A place in a source file. As a default argument it is the caller's.
struct Site {
    const char* file;
    int line;

    static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
    bool operator==(const Site& other) const {
        return line == other.line && (file == other.file || strcmp(file, other.file) == 0);
    }
};

enum class State { ready, at_barrier, in_warp, finished };

// What a lane brings to a warp primitive, and what it takes away from it.
struct Exchange {
    unsigned mask;
    int source;  // the lane whose value it asks for
    bool vote;
    unsigned long long value;
    unsigned ballot;
};

struct Thread {
    State state;
    Site site;
    Exchange exchange;
    Fiber* fiber;
};

using Call = void (*)(void** arguments);

static Thread threads[MAX_THREADS];
static Fiber fibers[MAX_THREADS];
static Fiber* idle_fibers[MAX_THREADS];
static int idle, allocated;
static Fiber scheduler;
static int current = -1;  // the thread that runs; -1 outside of kernels
static int thread_count;
static bool on_fibers;
static Call kernel;
static void** kernel_arguments;
static uint3 indices[MAX_THREADS];  // each thread's threadIdx
static unsigned order[MAX_THREADS];
static unsigned seed, random_state;
static char failure[1024];
static jmp_buf escape;

// Ends the launch; the first message counts. Called by a thread or by the scheduler.
[[noreturn, gnu::format(printf, 1, 2)]] inline void fail(const char* format, ...) {
    size_t used = static_cast<size_t>(snprintf(failure, sizeof failure, "block (%u, %u, %u)",
                                               blockIdx.x, blockIdx.y, blockIdx.z));
    if (current >= 0) {
        const uint3 index = indices[current];
        used += static_cast<size_t>(snprintf(failure + used, sizeof failure - used,
                                             ", thread (%u, %u, %u)", index.x, index.y, index.z));
    }
    used += static_cast<size_t>(snprintf(failure + used, sizeof failure - used, ": "));
    va_list values;
    va_start(values, format);
    vsnprintf(failure + used, sizeof failure - used, format, values);
    va_end(values);
    if (on_fibers && current >= 0) {
        switch_fiber(*threads[current].fiber, scheduler, true);
        __builtin_unreachable();
    }
    longjmp(escape, 1);
}

inline unsigned random_below(unsigned limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return static_cast<unsigned>(static_cast<unsigned long long>(random_state) * limit >> 32);
}

// Seed 0 runs threads in order, 1 in reverse, every other shuffles them anew.
inline void reorder() {
    if (seed < 2) return;
    for (int last = thread_count - 1; last > 0; last--) {
        const unsigned other = random_below(static_cast<unsigned>(last) + 1);
        const unsigned kept = order[last];
        order[last] = order[other];
        order[other] = kept;
    }
}

// Gives way to the scheduler until it finds that this thread can go on.
inline void wait_as(State state, Site site) {
    if (current < 0 || !on_fibers) {
        fail("%s:%d: a barrier or warp primitive in a kernel that was built without", site.file,
             site.line);
    }
    Thread& thread = threads[current];
    thread.state = state;
    thread.site = site;
    switch_fiber(*thread.fiber, scheduler);
}

inline Exchange exchange_in_warp(Exchange given, Site site) {
    const int lane = current % warpSize;
    if (!(given.mask >> lane & 1)) {
        fail("%s:%d: mask %#x does not name the calling lane %d", site.file, site.line, given.mask,
             lane);
    }
    threads[current].exchange = given;
    wait_as(State::in_warp, site);
    return threads[current].exchange;
}

inline void run_fiber() {
    arrived(*threads[current].fiber, &scheduler);
    kernel(kernel_arguments);
    threads[current].state = State::finished;
    switch_fiber(*threads[current].fiber, scheduler, true);
}

inline void resume(int number) {
    Thread& thread = threads[number];
    if (thread.fiber == nullptr) {
        if (idle == 0) {
            if (!allocate_stack(fibers[allocated])) fail("no memory for the stack of a thread");
            idle_fibers[idle++] = &fibers[allocated++];
        }
        thread.fiber = idle_fibers[--idle];
        prepare(*thread.fiber, run_fiber, static_cast<unsigned>(thread.fiber - fibers));
    }
    current = number;
    threadIdx = indices[number];
    switch_fiber(scheduler, *thread.fiber);
    current = -1;
    if (failure[0]) longjmp(escape, 1);
    if (thread.state == State::finished) {
        idle_fibers[idle++] = thread.fiber;
        thread.fiber = nullptr;
    }
}

inline bool takes_part(int warp, int lane) {
    const int number = warp * warpSize + lane;
    return number < thread_count && threads[number].state != State::finished;
}

// Which lanes of a warp wait with the first waiting one; 0 when a lane of its mask is still missing.
inline unsigned gathered(int warp, const Thread& first) {
    unsigned lanes = 0;
    for (int lane = 0; lane < warpSize; lane++) {
        if (!(first.exchange.mask >> lane & 1) || !takes_part(warp, lane)) continue;
        const Thread& other = threads[warp * warpSize + lane];
        if (other.state != State::in_warp) return 0;
        if (!(other.site == first.site) || other.exchange.mask != first.exchange.mask) {
            fail("warp %d diverges: %s:%d with mask %#x, and lane %d at %s:%d with mask %#x", warp,
                 first.site.file, first.site.line, first.exchange.mask, lane, other.site.file,
                 other.site.line, other.exchange.mask);
        }
        lanes |= 1u << lane;
    }
    return lanes;
}

inline void exchange(int warp, unsigned lanes) {
    Thread* const group = threads + warp * warpSize;
    unsigned long long values[warpSize];
    unsigned ballot = 0;
    for (int lane = 0; lane < warpSize; lane++) {
        if (!(lanes >> lane & 1)) continue;
        values[lane] = group[lane].exchange.value;
        if (group[lane].exchange.vote) ballot |= 1u << lane;
    }
    for (int lane = 0; lane < warpSize; lane++) {
        if (!(lanes >> lane & 1)) continue;
        Exchange& mine = group[lane].exchange;
        if (!(lanes >> mine.source & 1)) {
            current = warp * warpSize + lane;
            on_fibers = false;  // the scheduler itself reports
            fail("%s:%d: reads from lane %d, which takes no part", group[lane].site.file,
                 group[lane].site.line, mine.source);
        }
        mine.value = values[mine.source];
        mine.ballot = ballot;
        group[lane].state = State::ready;
    }
}

// Lets the warps go on whose lanes have all arrived; returns whether there were any.
inline bool release_warps() {
    bool released = false;
    for (int number = 0; number < thread_count; number++) {
        if (threads[number].state != State::in_warp) continue;
        const int warp = number / warpSize;
        const unsigned lanes = gathered(warp, threads[number]);
        if (lanes == 0) continue;
        exchange(warp, lanes);
        released = true;
    }
    return released;
}

// Lets the block go on when all of its threads wait at one barrier. Nobody can run otherwise.
inline void release_barrier() {
    int waiting = 0, finished = 0;
    const Thread* first = nullptr;
    const Thread* other = nullptr;
    for (int number = 0; number < thread_count; number++) {
        const Thread& thread = threads[number];
        if (thread.state == State::finished) {
            finished++;
            continue;
        }
        waiting++;
        if (first == nullptr) first = &thread;
        if (!(thread.site == first->site) || thread.state != first->state) other = &thread;
    }
    if (other != nullptr) {
        fail("threads wait at different places: %s:%d and %s:%d", first->site.file,
             first->site.line, other->site.file, other->site.line);
    }
    if (first->state == State::in_warp) {
        fail("%s:%d: not every lane of mask %#x arrives", first->site.file, first->site.line,
             first->exchange.mask);
    }
    if (finished > 0) {
        fail("%s:%d: %d threads wait at the barrier, %d have ended", first->site.file,
             first->site.line, waiting, finished);
    }
    for (int number = 0; number < thread_count; number++) threads[number].state = State::ready;
}

inline void run_block_on_fibers() {
    for (int number = 0; number < thread_count; number++) threads[number] = {};
    int unfinished = thread_count;
    while (true) {
        reorder();
        for (int turn = 0; turn < thread_count; turn++) {
            const int number = static_cast<int>(order[turn]);
            if (threads[number].state != State::ready) continue;
            resume(number);
            if (threads[number].state == State::finished) unfinished--;
        }
        if (unfinished == 0) return;
        if (!release_warps()) release_barrier();
    }
}

inline void run_block_in_a_loop() {
    reorder();
    for (int turn = 0; turn < thread_count; turn++) {
        current = static_cast<int>(order[turn]);
        threadIdx = indices[current];
        kernel(kernel_arguments);
    }
    current = -1;
}

// Takes back all fibers, also those that stopped in the middle.
inline void abandon_fibers() {
    for (idle = 0; idle < allocated; idle++) {
        idle_fibers[idle] = &fibers[idle];
        forget(fibers[idle]);
    }
}

}  // namespace emulation
