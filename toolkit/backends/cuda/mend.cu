// Rows that single precision could not solve, in double precision; compiled with EXACT.

// All rows that are marked, again; each block looks through its share of all rows.
extern "C" __global__ void __launch_bounds__(GROUP) mend_rows(
    int n_rows, const long long* __restrict__ row_starts, SYSTEM_PARAMETERS)
{
    SHARED_MEMORY;
    const System system = SYSTEM;
    // Behind what the equations take.
    int* const marked = reinterpret_cast<int*>(all_memory + MEMORY);
    const int lane = threadIdx.x;
    int ti, tj;
    tile_of(lane, ti, tj);
    for (long long first = (long long)blockIdx.x * GROUP; first < n_rows; first += (long long)gridDim.x * GROUP) {
        marked[lane] = first + lane < n_rows ? state[first + lane] == 1 : 0;
        __syncthreads();
        for (int at = 0; at < GROUP; ++at) {
            if (!marked[at]) {
                continue;
            }
            const int which = (int)(first + at);
            const Row row = {which, (int)(row_starts[which + 1] - row_starts[which]), row_starts[which]};
            real sums[TILE][TILE];
            add_ratings(system, sums, all_memory, row, (row.count + CHUNK - 1) / CHUNK, lane, ti, tj);
            solve(system, sums, all_memory, system.slots + (long long)blockIdx.x * PACKED, row, lane, ti, tj);
        }
        __syncthreads();
    }
}
