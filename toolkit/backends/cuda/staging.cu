// The normal equations of rows, multiplied and solved without leaving the multiprocessor.
//
// GROUP threads work on a row. Each has one TILE by TILE tile of the upper triangle in registers, from the first
// rating to the last step of the factorization. The row's ratings are staged in shared memory, CHUNK at a time, each
// with its weighted residual as one more column, so that one product brings the matrix and the right-hand side. In the
// factorization UᵀU, tile row after tile row, the finished tile row is staged like ratings and multiplied with itself
// like ratings, and the right-hand side, a column like others, is substituted forwards on the way.
//
// This file has the shapes and the staging, products.cu the products, solution.cu the solution of a row, and rows.cu
// and mend.cu the kernels.
//
// Beside common.cu's: TILE (4 or 8), CHUNK, GROUP, GROUPS (rows to a block in `short_rows`), IN_SHARED (whether the
// factor U is kept in shared memory, or in a slot of the arena), EXACT, and SHARED_BYTES: the shared memory of one row
// as toolkit/backends/cuda/shape.py counts it, which must equal what this file counts.

constexpr int WIDTH = (UNKNOWNS + 1 + TILE - 1) / TILE * TILE;
constexpr int BANDS = WIDTH / TILE;
constexpr int PIVOT_BANDS = (UNKNOWNS + TILE - 1) / TILE;
constexpr int TILES = BANDS * (BANDS + 1) / 2;
// The factor, tile row after tile row, each without what is left of the diagonal.
constexpr int PACKED = TILE * (PIVOT_BANDS * WIDTH - TILE * (PIVOT_BANDS * (PIVOT_BANDS - 1) / 2));

// Numbers of the upper triangle: what a part of a long row leaves to be added up.
constexpr int TRIANGLE = TILE * TILE * TILES;

static __device__ constexpr int larger(int a, int b) { return a > b ? a : b; }
constexpr int FOR_PANELS = IN_SHARED ? PACKED : 2 * TILE * WIDTH;
constexpr int WORK = larger(CHUNK * WIDTH, FOR_PANELS);
constexpr int KNOWN = WORK, SOLUTION = KNOWN + WIDTH, TRACES = SOLUTION + WIDTH, FLAG = TRACES + (BANDS + 3) / 4 * 4;
constexpr int MEMORY = FLAG + 4;

static_assert(TILES <= GROUP, "a thread has one tile at most");
static_assert(MEMORY * sizeof(real) == SHARED_BYTES, "toolkit/backends/cuda/shape.py counts other bytes");

// What all rows are solved with.
struct System {
    const COLUMN* columns;      // of all ratings
    const float* values;        // of all ratings
    const float* table;         // n_columns by STRIDE; see make_table
    const float* row_weight;    // c of each row, or null where the table has it
    const double* weight_sum;   // Σ (w0 + c) and Σ (w0 + c) (value − offset) of each row, or null with row_weight,
                                // without biases, or where w0 is 0
    const float* gram;          // k by k, added to every matrix, or null
    const float* pull;          // n_rows by k, added to the right-hand sides, or null
    const double* penalty;      // of each row's factors
    const double* bias_penalty; // of each row's bias
    const float* floor;         // what gram adds to the eigenvalues, or null
    // The fixed side as it is: n_columns by k, n_columns, and c of each column or null. For EXACT alone.
    const float* fixed_factors;
    const float* fixed_bias;
    const float* column_weight;
    real* slots;                // a factor for each row that is in work, where it does not fit shared memory
    float* factors;             // out, n_rows by k
    float* bias;                // out, n_rows
    int* state;                 // out, of each row: 0 solved, 1 wants double precision, 2 has no solution
    double mean;
    float w0;
    float visible;              // a row of fewer ratings than unknowns is lost when penalty + floor < visible · trace over the factors
};

struct Row {
    int row;           // below 0: none, but the threads must come along
    int count;
    long long start;
};

// Where a column lies within a staged line of `width`. Tiles of 8 are taken apart into fours, all first fours before
// all second ones, so that neighbours' 16-byte reads touch neighbouring banks.
static __device__ __forceinline__ int place(int column, int width)
{
    return TILE == 4 ? column : (column / 8 * 4 + column % 4 + (column % 8 >= 4 ? width / 2 : 0));
}

static __device__ __forceinline__ int panel_start(int band)
{
    return TILE * (band * WIDTH - TILE * (band * (band - 1) / 2));
}

static __device__ __forceinline__ void load_tile_line(real (&to)[TILE], const real* line, int width, int tile)
{
#pragma unroll
    for (int part = 0; part < TILE / 4; ++part) {
        const Four four = *reinterpret_cast<const Four*>(line + part * (width / 2) + tile * 4);
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            to[4 * part + q] = four.at[q];
        }
    }
}

static __device__ __forceinline__ void store_tile_line(real* line, const real (&from)[TILE], int width, int tile)
{
#pragma unroll
    for (int part = 0; part < TILE / 4; ++part) {
        Four four;
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            four.at[q] = from[4 * part + q];
        }
        *reinterpret_cast<Four*>(line + part * (width / 2) + tile * 4) = four;
    }
}

// Four numbers of a column's line, from j on, of a rating's residual and zeros behind the unknowns.
static __device__ __forceinline__ Four gathered(const System& system, long long rating, int j)
{
    const long long column = system.columns[rating];
    Four four = {{real(0), real(0), real(0), real(0)}};
    constexpr int LAST = UNKNOWNS / 4 * 4;  // the four that hold the residual
    if (j > LAST) {
        return four;
    }
    const real value = system.values[rating];
#if EXACT
    // From the numbers as they are, not as rounded for the table.
    const real c = system.column_weight ? real(system.column_weight[column]) : real(1);
    const real root = sqrt(c);
    const real scale = system.column_weight ? (c + system.w0) / root : real(1);
    const real offset = system.fixed_bias[column] + system.mean;
    for (int q = 0; q < 4; ++q) {
        if (j + q < FACTORS) {
            four.at[q] = root * system.fixed_factors[column * FACTORS + j + q];
        } else if (j + q < UNKNOWNS) {
            four.at[q] = scale;
        } else if (j + q == UNKNOWNS) {
            four.at[q] = scale * (value - offset);
        }
    }
#else
    const float* line = system.table + column * STRIDE;
    four = *reinterpret_cast<const Four*>(line + j);
    if (j == LAST) {
        four.at[UNKNOWNS % 4] = line[UNKNOWNS + 1] * (value - line[UNKNOWNS]);
#pragma unroll
        for (int q = UNKNOWNS % 4 + 1; q < 4; ++q) {
            four.at[q] = real(0);
        }
    }
#endif
    return four;
}

// Brings n ratings of a row into shared memory.
static __device__ __forceinline__ void stage(const System& system, real* lines, long long start, int n, int lane)
{
    for (int at = lane; at < n * (WIDTH / 4); at += GROUP) {
        const int line = at / (WIDTH / 4), j = at % (WIDTH / 4) * 4;
        *reinterpret_cast<Four*>(lines + line * WIDTH + place(j, WIDTH)) = gathered(system, start + line, j);
    }
}

// The tile of a thread: tile row and tile column, counted through the upper triangle by rows.
static __device__ __forceinline__ void tile_of(int lane, int& i, int& j)
{
    i = 0;
    int left = lane;
    while (i < BANDS && left >= BANDS - i) {
        left -= BANDS - i;
        ++i;
    }
    j = i + left;
}
