// Runs the blocks of a launch, one after another, each with fresh shared memory.
#pragma once
#include <link.h>

#include "faults.h"
#include "scheduler.h"

namespace emulation {

// This library's thread-local memory: the kernels' shared arrays, and nothing else of weight.
struct SharedMemory {
    void* data;
    size_t size;
};

static thread_local char shared_memory_begins;  // makes the memory exist

inline int find_shared_memory(dl_phdr_info* library, size_t, void* result) {
    const auto here = reinterpret_cast<uintptr_t>(&failure);
    bool ours = false;
    size_t size = 0;
    for (int i = 0; i < library->dlpi_phnum; i++) {
        const auto& part = library->dlpi_phdr[i];
        const uintptr_t begin = library->dlpi_addr + part.p_vaddr;
        if (part.p_type == PT_LOAD && here >= begin && here < begin + part.p_memsz) ours = true;
        if (part.p_type == PT_TLS) size = part.p_memsz;
    }
    if (ours) *static_cast<SharedMemory*>(result) = {library->dlpi_tls_data, size};
    return ours;
}

inline SharedMemory shared_memory() {
    *const_cast<volatile char*>(&shared_memory_begins) = 0;
    SharedMemory memory{nullptr, 0};
    dl_iterate_phdr(find_shared_memory, &memory);
    return memory;
}

inline unsigned greatest_common_divisor(unsigned a, unsigned b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
}

// The block that runs as number `turn` of `count`: like threads in order, in reverse, or scattered.
inline unsigned block_at(unsigned turn, unsigned count, unsigned step) {
    if (seed == 0) return turn;
    if (seed == 1) return count - 1 - turn;
    return static_cast<unsigned>((turn + 1ull) * step % count);
}

inline void number_threads() {
    int number = 0;
    for (unsigned z = 0; z < blockDim.z; z++) {
        for (unsigned y = 0; y < blockDim.y; y++) {
            for (unsigned x = 0; x < blockDim.x; x++) indices[number++] = {x, y, z};
        }
    }
    for (int i = 0; i < thread_count; i++) {
        order[i] = static_cast<unsigned>(seed == 1 ? thread_count - 1 - i : i);
    }
}

// Returns nullptr, or what went wrong.
inline const char* launch(Call call, bool barriers, const unsigned* grid, const unsigned* block,
                          void** arguments, unsigned schedule) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    thread_count = static_cast<int>(block[0] * block[1] * block[2]);
    kernel = call;
    kernel_arguments = arguments;
    on_fibers = barriers;
    seed = random_state = schedule;
    failure[0] = 0;
    current = -1;
    const FaultHandlers handlers;
    if (setjmp(escape)) {
        abandon_fibers();
        return failure;
    }
    if (thread_count < 1 || thread_count > MAX_THREADS) fail("%d threads", thread_count);
    number_threads();
    const SharedMemory shared = shared_memory();
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    unsigned step = random_below(blocks) + 1;
    while (greatest_common_divisor(step, blocks) != 1) step++;
    for (unsigned turn = 0; turn < blocks; turn++) {
        const unsigned number = block_at(turn, blocks, step);
        blockIdx = {number % grid[0], number / grid[0] % grid[1], number / (grid[0] * grid[1])};
        memset(shared.data, 0xff, shared.size);
        on_fibers ? run_block_on_fibers() : run_block_in_a_loop();
    }
    return nullptr;
}

}  // namespace emulation
