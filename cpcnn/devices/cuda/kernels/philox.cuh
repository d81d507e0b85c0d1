// Philox4x32-10 (Salmon et al., SC 2011): the random words of core/random.py, the same integers.

struct Words {
    unsigned int values[4];
};

// The four words with the number `index`. `epoch` and `stream` are the upper half of the counter.
__device__ __forceinline__ Words philox(
    unsigned long long index, unsigned int epoch, unsigned int stream, unsigned int key_0,
    unsigned int key_1) {
    constexpr unsigned int MULTIPLIER_0 = 0xD2511F53u;
    constexpr unsigned int MULTIPLIER_1 = 0xCD9E8D57u;
    constexpr unsigned int WEYL_0 = 0x9E3779B9u;
    constexpr unsigned int WEYL_1 = 0xBB67AE85u;
    constexpr int ROUNDS = 10;
    unsigned int c0 = static_cast<unsigned int>(index);
    unsigned int c1 = static_cast<unsigned int>(index >> 32);
    unsigned int c2 = epoch;
    unsigned int c3 = stream;
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        const unsigned int high_0 = __umulhi(c0, MULTIPLIER_0);
        const unsigned int high_1 = __umulhi(c2, MULTIPLIER_1);
        const unsigned int low_0 = c0 * MULTIPLIER_0;
        const unsigned int low_1 = c2 * MULTIPLIER_1;
        c0 = high_1 ^ c1 ^ key_0;
        c1 = low_1;
        c2 = high_0 ^ c3 ^ key_1;
        c3 = low_0;
        key_0 += WEYL_0;
        key_1 += WEYL_1;
    }
    return {{c0, c1, c2, c3}};
}
