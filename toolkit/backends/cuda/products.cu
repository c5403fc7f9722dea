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

#if PRODUCT

// Tensor cores multiply fragments of 16 by 8: of two tile rows and one tile column. They are counted by pairs of tile
// rows, each with what is not left of the diagonal, and each warp has as many of them, side by side.
constexpr int PAIRS = (BANDS + 1) / 2;
constexpr int FRAGMENTS = PAIRS * BANDS - PAIRS * (PAIRS - 1);
constexpr int WARPS = GROUP / 32;
constexpr int OF_WARP = (FRAGMENTS + WARPS - 1) / WARPS;

#ifndef CUDA_ON_CPU
// The nearest number with 10 bits behind the point.
static __device__ __forceinline__ unsigned to_tf32(float x)
{
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
}

// sums + a b, by a warp. Of lane = 4 g + t: a is at (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); b at (t, g),
// (t + 4, g); sums at (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1).
static __device__ __forceinline__ void multiply_tf32(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// Numbers as the tensor cores read them, and what that leaves of them.
template <int N>
struct Halves {
    unsigned high[N];
    unsigned low[N];

    __device__ __forceinline__ void take(int at, float x)
    {
        high[at] = to_tf32(x);
        if (PRODUCT == 3) {
            low[at] = to_tf32(x - __uint_as_float(high[at]));
        }
    }
};

static __device__ __forceinline__ void add_by_tensor_cores(
    const System& system, real (&sums)[TILE][TILE], real* memory, const Row& row, int chunks, int lane, int ti, int tj)
{
    const int first = lane / 32 * OF_WARP, g = lane % 32 / 4, t = lane % 4;
    float fragments[OF_WARP][4];
#pragma unroll
    for (int f = 0; f < OF_WARP; ++f) {
        fragments[f][0] = fragments[f][1] = fragments[f][2] = fragments[f][3] = 0.0f;
    }
    int first_pair = 0, first_column = first;
    while (first_pair < PAIRS && first_column >= BANDS - 2 * first_pair) {
        first_column -= BANDS - 2 * first_pair;
        ++first_pair;
    }
    first_column += 2 * first_pair;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const int n = min(CHUNK, max(0, row.count - chunk * CHUNK)), padded = (n + 7) / 8 * 8;
        stage(system, memory, row.start + (long long)chunk * CHUNK, n, padded, lane);
        __syncthreads();
        for (int line = 0; line < padded; line += 8) {
            const float *near = memory + (line + t) * WIDTH, *far = near + 4 * WIDTH;
            int pair = first_pair, column = first_column;
            Halves<4> a;
            bool moved = true;
#pragma unroll
            for (int f = 0; f < OF_WARP; ++f) {
                if (first + f < FRAGMENTS) {
                    if (moved) {
                        const int upper = place(16 * pair + g, WIDTH), lower = upper + 4;
                        // An odd last tile row has none below it.
                        const bool both = 2 * pair + 1 < BANDS;
                        a.take(0, near[upper]);
                        a.take(1, both ? near[lower] : 0.0f);
                        a.take(2, far[upper]);
                        a.take(3, both ? far[lower] : 0.0f);
                    }
                    Halves<2> b;
                    const int at = place(8 * column + g, WIDTH);
                    b.take(0, near[at]);
                    b.take(1, far[at]);
                    if (PRODUCT == 3) {
                        multiply_tf32(fragments[f], a.low, b.high);
                        multiply_tf32(fragments[f], a.high, b.low);
                    }
                    multiply_tf32(fragments[f], a.high, b.high);
                    moved = ++column == BANDS;
                    if (moved) {
                        ++pair;
                        column = 2 * pair;
                    }
                }
            }
        }
        __syncthreads();
    }
    // From the warps' fragments to the threads' tiles, numbers before tiles.
    int pair = first_pair, column = first_column;
#pragma unroll
    for (int f = 0; f < OF_WARP; ++f) {
        if (first + f < FRAGMENTS) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int band = 2 * pair + half;
                if (band <= column) {
                    const int tile = band * BANDS - band * (band - 1) / 2 + column - band;
                    memory[(g * 8 + 2 * t) * TILES + tile] = fragments[f][2 * half];
                    memory[(g * 8 + 2 * t + 1) * TILES + tile] = fragments[f][2 * half + 1];
                }
            }
            if (++column == BANDS) {
                ++pair;
                column = 2 * pair;
            }
        }
    }
    __syncthreads();
    if (lane < TILES) {
#pragma unroll
        for (int i = 0; i < TILE; ++i) {
#pragma unroll
            for (int j = 0; j < TILE; ++j) {
                sums[i][j] = memory[(i * TILE + j) * TILES + lane];
            }
        }
    }
    __syncthreads();
}

#endif

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
#if PRODUCT
    add_by_tensor_cores(system, sums, memory, row, chunks, lane, ti, tj);
#else
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const int n = min(CHUNK, max(0, row.count - chunk * CHUNK));
        stage(system, memory, row.start + (long long)chunk * CHUNK, n, n, lane);
        __syncthreads();
        if (lane < TILES) {
            add_products<false>(sums, memory, n, WIDTH, ti, tj);
        }
        // Before the next chunk, or a panel, is written where this one is read.
        __syncthreads();
    }
#endif
}
