// Sums over pairs of a user and an item: squared errors.

// Lanes that share a pair.
constexpr int LANES = 8;

// Sum over a block of 256 threads; thread 0 gets it, in an order that never changes. `memory` holds 8 numbers.
static __device__ double block_sum(double x, double* memory)
{
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        memory[threadIdx.x / 32] = x;
    }
    __syncthreads();
    double sum = 0.0;
    if (threadIdx.x == 0) {
        for (int warp = 0; warp < 8; ++warp) {
            sum += memory[warp];
        }
    }
    return sum;
}

// Σ error² over pairs, a number for each block, whose order and size the caller keeps the same everywhere.
//
// Predictions are clipped to low..high, which are infinite where they are not.
extern "C" __global__ void __launch_bounds__(256) squared_errors(
    long long n, const int* __restrict__ users, const COLUMN* __restrict__ items,
    const float* __restrict__ ratings, const float* __restrict__ user_factors, const float* __restrict__ user_bias,
    const float* __restrict__ item_factors, const float* __restrict__ item_bias, float mean, float low, float high,
    double* __restrict__ sums)
{
    extern __shared__ float4 shared[];
    double* const memory = reinterpret_cast<double*>(shared);
    const int lane = threadIdx.x % LANES, groups = blockDim.x / LANES;
    const long long step = (long long)gridDim.x * groups;
    // As many rounds for everyone: all lanes of a warp take part in the exchange.
    const long long rounds = (n + step - 1) / step;
    long long at = (long long)blockIdx.x * groups + threadIdx.x / LANES;
    double sum = 0.0;
    for (long long round = 0; round < rounds; ++round, at += step) {
        const bool real_pair = at < n;
        const long long u = real_pair ? users[at] : 0, i = real_pair ? items[at] : 0;
        const float *x = user_factors + u * FACTORS, *y = item_factors + i * FACTORS;
        float dot = 0.0f;
        for (int j = lane; j < FACTORS; j += LANES) {
            dot = fmaf(x[j], y[j], dot);
        }
        for (int half = LANES / 2; half > 0; half /= 2) {
            dot += __shfl_xor_sync(0xffffffffu, dot, half);
        }
        if (lane == 0 && real_pair) {
            float predicted = dot + user_bias[u] + item_bias[i] + mean;
            // What is no number stays none.
            predicted = predicted < low ? low : predicted > high ? high : predicted;
            const double error = (double)(predicted - ratings[at]);
            sum += error * error;
        }
    }
    sum = block_sum(sum, memory);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
}

// The sum of the numbers of `n` blocks, in their order; one thread.
extern "C" __global__ void join_blocks(int n, const double* __restrict__ sums, double* __restrict__ out)
{
    double sum = 0.0;
    for (int block = 0; block < n; ++block) {
        sum += sums[block];
    }
    out[0] = sum;
}
