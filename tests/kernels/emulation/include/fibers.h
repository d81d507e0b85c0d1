// Fibers: functions with a stack each, that run until they switch away. x86-64 Linux only.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

// Saves what the System V calling convention wants kept, puts the stack pointer into *from, and goes
// on where `to` was saved.
asm(R"(
    .text
    .type emulation_switch, @function
emulation_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size emulation_switch, . - emulation_switch
)");
extern "C" __attribute__((visibility("hidden"))) void emulation_switch(void** from, void* to);

namespace emulation {

constexpr size_t PAGE = 4096;
constexpr size_t STACK = 32 * PAGE;
constexpr int SAVED_REGISTERS = 6;

// A place to run: a stack, and where on it execution stopped. The main program is one, too.
struct Fiber {
    void* stopped = nullptr;
    char* stack = nullptr;  // its lowest byte; a page without access lies below
    size_t stack_size = 0;
    void* fake_stack = nullptr;  // AddressSanitizer's
};

inline bool allocate_stack(Fiber& fiber) {
    void* memory = mmap(nullptr, PAGE + STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE) != 0) return false;
    fiber.stack = static_cast<char*>(memory) + PAGE;
    fiber.stack_size = STACK;
    return true;
}

// Makes the fiber begin `function` when it is switched to. Stacks begin at different offsets in
// their pages, given by `colour`, or all would fight for the same lines of the cache.
inline void prepare(Fiber& fiber, void (*function)(), unsigned colour) {
    char* top = fiber.stack + fiber.stack_size - colour * 320 % PAGE;
    void** slot = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{63});
    *--slot = nullptr;  // where `function` would return to; it never does
    *--slot = reinterpret_cast<void*>(function);
    for (int i = 0; i < SAVED_REGISTERS; i++) *--slot = nullptr;
    fiber.stopped = slot;
    fiber.fake_stack = nullptr;
}

// Says that nothing on the fiber's stack is in use any more.
inline void forget([[maybe_unused]] Fiber& fiber) {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(fiber.stack, fiber.stack_size);
#endif
}

// Whoever comes back to a fiber, or begins one, has to call this first.
inline void arrived([[maybe_unused]] Fiber& here, [[maybe_unused]] Fiber* from) {
#ifdef __SANITIZE_ADDRESS__
    const void* bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(here.fake_stack, &bottom, &size);
    if (from != nullptr) {
        from->stack = static_cast<char*>(const_cast<void*>(bottom));
        from->stack_size = size;
    }
#endif
}

// Runs `to` until somebody switches back to `from`; with `last` nobody will.
inline void switch_fiber(Fiber& from, Fiber& to, [[maybe_unused]] bool last = false) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack, to.stack_size);
#endif
    emulation_switch(&from.stopped, to.stopped);
    arrived(from, nullptr);
}

}  // namespace emulation
