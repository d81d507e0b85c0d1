// How Python reaches a kernel: by its C++ signature as text, and with arguments as pointers to values.
#pragma once
#include <stdio.h>
#include <utility>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "launch.h"

namespace emulation {

template <typename T> struct Name;  // no parameter may be of another type
template <> struct Name<float> { static constexpr const char* text = "float"; };
template <> struct Name<double> { static constexpr const char* text = "double"; };
template <> struct Name<__half> { static constexpr const char* text = "__half"; };
template <> struct Name<__nv_bfloat16> { static constexpr const char* text = "__nv_bfloat16"; };
template <> struct Name<unsigned char> { static constexpr const char* text = "unsigned char"; };
template <> struct Name<int> { static constexpr const char* text = "int"; };
template <> struct Name<unsigned> { static constexpr const char* text = "unsigned int"; };
template <> struct Name<long long> { static constexpr const char* text = "long long"; };
template <> struct Name<unsigned long long> {
    static constexpr const char* text = "unsigned long long";
};
template <> struct Name<bool> { static constexpr const char* text = "bool"; };

template <typename T> struct Described {
    static constexpr const char *constant = "", *text = Name<T>::text, *pointer = "";
};
template <typename T> struct Described<T*> {
    static constexpr const char *constant = "", *text = Name<T>::text, *pointer = "*";
};
template <typename T> struct Described<const T*> {
    static constexpr const char *constant = "const ", *text = Name<T>::text, *pointer = "*";
};

template <typename... Parameters> struct Types {};

// Writes `const float*;float*;int;`.
template <typename... Parameters> void describe(Types<Parameters...>, char* text, size_t size) {
    size_t used = 0;
    ((used += static_cast<size_t>(
          snprintf(text + used, size - used, "%s%s%s;", Described<Parameters>::constant,
                   Described<Parameters>::text, Described<Parameters>::pointer))),
     ...);
}

template <typename Function> struct Entry;

template <typename... Parameters> struct Entry<void (*)(Parameters...)> {
    using Signature = Types<Parameters...>;

    template <void (*function)(Parameters...)> static void call(void** arguments) {
        unpack<function>(arguments, std::index_sequence_for<Parameters...>{});
    }

    template <void (*function)(Parameters...), size_t... places>
    static void unpack(void** arguments, std::index_sequence<places...>) {
        function(*static_cast<Parameters*>(arguments[places])...);
    }
};

struct Instance {
    Call call;
    void (*describe)(char* text, size_t size);
};

}  // namespace emulation

// One line of the table of instances.
#define EMULATION_INSTANCE(...)                                                                  \
    {                                                                                            \
        &emulation::Entry<decltype(&__VA_ARGS__)>::call<&__VA_ARGS__>, [](char* text, size_t size) { \
            emulation::describe(emulation::Entry<decltype(&__VA_ARGS__)>::Signature{}, text, size);  \
        }                                                                                        \
    }
