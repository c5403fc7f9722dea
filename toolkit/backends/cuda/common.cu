// What all kernels are compiled with. toolkit/backends/cuda/kernels.py puts this file before each of the others, and defines
//
//   FACTORS   k, latent factors
//   BIASED    1 where the last unknown of a row is its bias, 0 where it has none
//   COLUMN    type of the column numbers: int, or long long
//   REAL      float, or double for rows whose penalty single precision does not see
//
// No header is included: NVRTC has none of its own.

typedef REAL real;

constexpr int UNKNOWNS = FACTORS + BIASED;
// A line of the table: the unknowns' columns, the offset of a rating and its scale, filled up to whole float4.
constexpr int STRIDE = (UNKNOWNS + 2 + 3) / 4 * 4;

struct __align__(16) Four {
    real at[4];
};

static __device__ __forceinline__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
static __device__ __forceinline__ double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// One Newton step, as the instruction is a few roundings off.
static __device__ __forceinline__ float inverse_root(float x) {
    const float y = rsqrtf(x);
    return fmaf(0.5f * y, fmaf(-x * y, y, 1.0f), y);
}
static __device__ __forceinline__ double inverse_root(double x) { return 1.0 / sqrt(x); }

static __device__ __forceinline__ bool is_finite(real x) { return x - x == real(0); }

// Sum over the lanes of a warp, which all get it, in an order that never changes.
static __device__ __forceinline__ double warp_sum(double x) {
    for (int step = 16; step > 0; step /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, step);
    }
    return x;
}
