// Enough of CUDA C++ to run a kernel's own source on a processor: compiled before it, by tests/cuda_on_cpu/build.py.
//
// The threads of a block are fibers of one thread. Each runs until it comes to a barrier; when all have come, all go
// on. The order in which they run is the caller's: forwards, backwards, or shuffled by a seed. A kernel whose threads
// write where others read without a barrier between gives other numbers in another order. A barrier that only some
// threads come to ends the launch with an error. Shared memory is filled with NaN before each block, so that what is
// read before it is written shows.
//
// What it does not show: the memory model of a GPU (a fiber sees all writes at once), the precision of its special
// instructions (rsqrtf), and speed.

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define CUDA_ON_CPU 1

struct alignas(16) float4 {
    float x, y, z, w;
};
struct dim3 {
    unsigned x, y, z;
};

namespace cuda_on_cpu {

constexpr unsigned WARP = 32, MOST = 1024;
constexpr size_t STACK = 128 << 10;
constexpr size_t SHARED_NUMBERS = (256 << 10) / sizeof(float4);

enum State { READY, AT_BARRIER, AT_WARP, DONE };

struct Fiber {
    ucontext_t context;
    char* stack;
    State state;
    unsigned long long given;
};

static Fiber fibers[MOST];
static unsigned turn[MOST];
static ucontext_t scheduler;
static unsigned current;
static void (*work)();
static const char* problem;

static void give_up(const char* text) { problem = problem ? problem : text; }

static void wait(State state)
{
    fibers[current].state = state;
    swapcontext(&fibers[current].context, &scheduler);
}

static void enter()
{
    work();
    fibers[current].state = DONE;
    swapcontext(&fibers[current].context, &scheduler);
}

}  // namespace cuda_on_cpu

static dim3 threadIdx, blockIdx, blockDim, gridDim;
// Dynamic shared memory, the only kind that kernels here use; what the launch has not is a guard.
float4 shared[cuda_on_cpu::SHARED_NUMBERS];

static void __syncthreads() { cuda_on_cpu::wait(cuda_on_cpu::AT_BARRIER); }
static void __syncwarp(unsigned = 0xffffffffu) { cuda_on_cpu::wait(cuda_on_cpu::AT_WARP); }

template <class T>
static T __shfl_sync(unsigned, T value, int from)
{
    using namespace cuda_on_cpu;
    static_assert(sizeof(T) <= sizeof(fibers[0].given), "");
    const unsigned own = current, lane = current / WARP * WARP + from % WARP;
    memcpy(&fibers[own].given, &value, sizeof(T));
    wait(AT_WARP);
    memcpy(&value, &fibers[lane].given, sizeof(T));
    wait(AT_WARP);
    return value;
}
template <class T>
static T __shfl_xor_sync(unsigned mask, T value, int bits)
{
    return __shfl_sync(mask, value, (cuda_on_cpu::current % cuda_on_cpu::WARP) ^ bits);
}

template <class T>
static T __ldg(const T* from) { return *from; }
// Newer C libraries have one of that name.
#define rsqrtf inverse_square_root
static float inverse_square_root(float x) { return 1.0f / sqrtf(x); }
static int min(int a, int b) { return a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }

namespace cuda_on_cpu {

// Runs the threads of a block to their end; `order` is 0 forwards, 1 backwards, or the seed of a shuffle.
static void run_block(unsigned order)
{
    const unsigned n = blockDim.x;
    unsigned long long random = order;
    for (unsigned i = 0; i < n; ++i) {
        turn[i] = order == 1 ? n - 1 - i : i;
        Fiber& fiber = fibers[i];
        if (!fiber.stack) {
            fiber.stack = static_cast<char*>(malloc(STACK));
        }
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
        fiber.state = READY;
    }
    for (;;) {
        if (order > 1) {
            for (unsigned i = n - 1; i > 0; --i) {
                random = random * 6364136223846793005ull + 1442695040888963407ull;
                const unsigned other = (random >> 33) % (i + 1), kept = turn[i];
                turn[i] = turn[other];
                turn[other] = kept;
            }
        }
        for (unsigned at = 0; at < n; ++at) {
            const unsigned i = turn[at];
            if (fibers[i].state == READY) {
                current = i;
                threadIdx = {i, 0, 0};
                swapcontext(&scheduler, &fibers[i].context);
            }
        }
        bool moved = false, all_done = true, all_wait = true;
        for (unsigned first = 0; first < n; first += WARP) {
            const unsigned last = first + WARP < n ? first + WARP : n;
            bool together = true;
            for (unsigned i = first; i < last; ++i) {
                together = together && fibers[i].state == AT_WARP;
            }
            for (unsigned i = first; i < last; ++i) {
                if (together) {
                    fibers[i].state = READY;
                    moved = true;
                }
                all_done = all_done && fibers[i].state == DONE;
                all_wait = all_wait && fibers[i].state == AT_BARRIER;
            }
        }
        if (all_done) {
            return;
        }
        if (all_wait) {
            for (unsigned i = 0; i < n; ++i) {
                fibers[i].state = READY;
            }
        } else if (!moved) {
            return give_up("some threads wait at a barrier that others never come to");
        }
    }
}

// Runs a kernel; returns null, or what went wrong.
template <class Kernel>
static const char* launch(unsigned grid, unsigned block, size_t shared_bytes, unsigned order, Kernel kernel)
{
    static Kernel* running;
    running = &kernel;
    work = [] { (*running)(); };
    problem = nullptr;
    blockDim = {block, 1, 1};
    gridDim = {grid, 1, 1};
    if (block > MOST || shared_bytes > sizeof shared) {
        return "more threads or shared memory than there are";
    }
    for (unsigned at = 0; at < grid && !problem; ++at) {
        blockIdx = {order == 1 ? grid - 1 - at : at, 0, 0};
        // As a number of either precision it is NaN.
        memset(shared, 0xff, sizeof shared);
        run_block(order);
        const char* const bytes = reinterpret_cast<const char*>(shared);
        for (size_t byte = shared_bytes; byte < sizeof shared; ++byte) {
            if (bytes[byte] != char(0xff)) {
                give_up("shared memory was written outside of what the launch has");
            }
        }
    }
    return problem;
}

}  // namespace cuda_on_cpu
