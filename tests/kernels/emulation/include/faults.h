// Turns a crash of a kernel into a failed launch. AddressSanitizer has better messages: they stay.
#pragma once
#include <signal.h>

#include "scheduler.h"

namespace emulation {

constexpr int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE};
constexpr int FAULT_COUNT = 3;

static struct sigaction other_handlers[FAULT_COUNT];

inline void restore_handlers() {
    for (int i = 0; i < FAULT_COUNT; i++) sigaction(FAULTS[i], &other_handlers[i], nullptr);
}

inline void on_fault(int signal, siginfo_t* information, void*) {
    if (current < 0) {  // not in a kernel: the fault comes again, to who had it before
        restore_handlers();
        return;
    }
    on_fibers = false;  // jump out of the fiber, there may be no stack left to switch with
    if (signal == SIGFPE) fail("integer division by zero, or its overflow");
    fail("an access to address %p, where nothing is", information->si_addr);
}

// While it lives, faults end the launch. They are handled on a stack of their own, since a thread may
// have used up its stack.
class FaultHandlers {
public:
    FaultHandlers() {
#ifndef __SANITIZE_ADDRESS__
        stack_t own = {};
        own.ss_sp = memory;
        own.ss_size = sizeof memory;
        sigaltstack(&own, &other_stack);
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (int i = 0; i < FAULT_COUNT; i++) sigaction(FAULTS[i], &action, &other_handlers[i]);
        installed = true;
#endif
    }
    ~FaultHandlers() {
        if (!installed) return;
        restore_handlers();
        sigaltstack(&other_stack, nullptr);
    }
    FaultHandlers(const FaultHandlers&) = delete;
    FaultHandlers& operator=(const FaultHandlers&) = delete;

private:
    static inline char memory[65536];
    stack_t other_stack = {};
    bool installed = false;
};

}  // namespace emulation
