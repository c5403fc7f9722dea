// Three ways to the sums of a row: short ones, several to a block (`short_rows`); a block a row (`whole_rows`); and
// long rows in parts (`part_rows`), which another kernel adds up in their order and solves (`joined_rows`).
// A row that single precision cannot solve is marked.

// Rows in groups of as many threads, `rows`, `starts` and `counts` in the order of their lengths.
template <int ROWS>
static __device__ __forceinline__ void solve_rows(
    const System& system, real* all_memory, int n, const int* rows, const long long* starts, const int* counts)
{
    const int group = threadIdx.x / GROUP, lane = threadIdx.x % GROUP;
    real* memory = all_memory + group * MEMORY;
    real* slot = system.slots + ((long long)blockIdx.x * ROWS + group) * PACKED;
    int ti, tj;
    tile_of(lane, ti, tj);
    for (int first = blockIdx.x * ROWS; first < n; first += gridDim.x * ROWS) {
        Row row = {-1, 0, 0};
        int longest = 0;
        for (int other = 0; other < ROWS; ++other) {
            if (first + other < n) {
                longest = max(longest, counts[first + other]);
            }
        }
        if (first + group < n) {
            row = {rows[first + group], counts[first + group], starts[first + group]};
        }
        real sums[TILE][TILE];
        add_ratings(system, sums, memory, row, (longest + CHUNK - 1) / CHUNK, lane, ti, tj);
        solve(system, sums, memory, slot, row, lane, ti, tj);
    }
}

extern "C" __global__ void __launch_bounds__(GROUP * GROUPS) short_rows(
    int n, const int* __restrict__ rows, const long long* __restrict__ starts, const int* __restrict__ counts,
    SYSTEM_PARAMETERS)
{
    SHARED_MEMORY;
    const System system = SYSTEM;
    solve_rows<GROUPS>(system, all_memory, n, rows, starts, counts);
}

extern "C" __global__ void __launch_bounds__(GROUP) whole_rows(
    int n, const int* __restrict__ rows, const long long* __restrict__ starts, const int* __restrict__ counts,
    SYSTEM_PARAMETERS)
{
    SHARED_MEMORY;
    const System system = SYSTEM;
    solve_rows<1>(system, all_memory, n, rows, starts, counts);
}

// Sums of a part of a long row, a block a part: TILE² numbers of each tile, numbers before tiles.
extern "C" __global__ void __launch_bounds__(GROUP) part_rows(
    const long long* __restrict__ starts, const int* __restrict__ counts, float* __restrict__ partial,
    SYSTEM_PARAMETERS)
{
    SHARED_MEMORY;
    const System system = SYSTEM;
    const int lane = threadIdx.x, part = blockIdx.x;
    int ti, tj;
    tile_of(lane, ti, tj);
    const Row row = {0, counts[part], starts[part]};
    real sums[TILE][TILE];
    add_ratings(system, sums, all_memory, row, (row.count + CHUNK - 1) / CHUNK, lane, ti, tj);
    if (lane < TILES) {
        float* to = partial + (long long)part * TRIANGLE + lane;
#pragma unroll
        for (int i = 0; i < TILE; ++i) {
#pragma unroll
            for (int j = 0; j < TILE; ++j) {
                to[(i * TILE + j) * TILES] = sums[i][j];
            }
        }
    }
}

// Long rows from the sums of their parts: those of row i of them are firsts[i] ≤ part < firsts[i + 1], of which the
// first is number `origin` in `partial`.
extern "C" __global__ void __launch_bounds__(GROUP) joined_rows(
    int n, const int* __restrict__ rows, const int* __restrict__ counts, const int* __restrict__ firsts, int origin,
    const float* __restrict__ partial, SYSTEM_PARAMETERS)
{
    SHARED_MEMORY;
    const System system = SYSTEM;
    const int lane = threadIdx.x;
    int ti, tj;
    tile_of(lane, ti, tj);
    for (int at = blockIdx.x; at < n; at += gridDim.x) {
        const Row row = {rows[at], counts[at], 0};
        real sums[TILE][TILE];
#pragma unroll
        for (int i = 0; i < TILE; ++i) {
#pragma unroll
            for (int j = 0; j < TILE; ++j) {
                sums[i][j] = real(0);
            }
        }
        for (int part = firsts[at]; part < firsts[at + 1] && lane < TILES; ++part) {
            const float* from = partial + (long long)(part - origin) * TRIANGLE + lane;
#pragma unroll
            for (int i = 0; i < TILE; ++i) {
#pragma unroll
                for (int j = 0; j < TILE; ++j) {
                    sums[i][j] += from[(i * TILE + j) * TILES];
                }
            }
        }
        solve(system, sums, all_memory, system.slots + (long long)blockIdx.x * PACKED, row, lane, ti, tj);
    }
}
