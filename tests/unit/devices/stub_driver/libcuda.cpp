// A libcuda.so.1 whose answers come from environment variables.

#include <cstdio>
#include <cstdlib>

static int setting(const char* name, int otherwise) {
    const char* text = std::getenv(name);
    return text ? std::atoi(text) : otherwise;
}

extern "C" {

int cuDriverGetVersion(int* version) {
    *version = setting("STUB_VERSION", 12080);
    return setting("STUB_VERSION_STATUS", 0);
}

int cuInit(unsigned) {
    return setting("STUB_INIT", 0);
}

int cuDeviceGetCount(int* count) {
    *count = setting("STUB_COUNT", 1);
    return setting("STUB_COUNT_STATUS", 0);
}

int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return 0;
}

int cuDeviceGetName(char* name, int length, int device) {
    std::snprintf(name, length, "Stub %d", device);
    return 0;
}

int cuDeviceTotalMem_v2(std::size_t* bytes, int) {
    *bytes = std::size_t{24} << 30;
    return 0;
}

int cuGetErrorName(int error, const char** name) {
    switch (error) {
        case 802: *name = "CUDA_ERROR_SYSTEM_NOT_READY"; return 0;
        case 803: *name = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"; return 0;
    }
    *name = nullptr;
    return 1;
}

}
