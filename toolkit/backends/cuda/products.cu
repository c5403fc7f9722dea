// Products of staged lines with themselves: a row's ratings, and its finished tile rows.

// sums ± linesᵀ lines, of two tiles of n staged lines.
template <bool NEGATIVE>
static __device__ __forceinline__ void add_products(
    real (&sums)[TILE][TILE], const real* lines, int n, int width, int left, int right)
{
#pragma unroll 2
    for (int line = 0; line < n; ++line) {
        real a[TILE], b[TILE];
        load_tile_line(a, lines + line * width, width, left);
        load_tile_line(b, lines + line * width, width, right);
#pragma unroll
        for (int i = 0; i < TILE; ++i) {
#pragma unroll
            for (int j = 0; j < TILE; ++j) {
                sums[i][j] = multiply_add(NEGATIVE ? -a[i] : a[i], b[j], sums[i][j]);
            }
        }
    }
}

// The sums of a row's ratings, or of a part of them; all threads of the block go through as many chunks.
static __device__ __forceinline__ void add_ratings(
    const System& system, real (&sums)[TILE][TILE], real* memory, const Row& row, int chunks, int lane, int ti, int tj)
{
#pragma unroll
    for (int i = 0; i < TILE; ++i) {
#pragma unroll
        for (int j = 0; j < TILE; ++j) {
            sums[i][j] = real(0);
        }
    }
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const int n = min(CHUNK, max(0, row.count - chunk * CHUNK));
        stage(system, memory, row.start + (long long)chunk * CHUNK, n, lane);
        __syncthreads();
        if (lane < TILES) {
            add_products<false>(sums, memory, n, WIDTH, ti, tj);
        }
        // Before the next chunk, or a panel, is written where this one is read.
        __syncthreads();
    }
}
