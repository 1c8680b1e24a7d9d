/* A plugin for QEMU's user emulation that counts the instructions of the emulated program.
 *
 * The program marks the borders: every time it asks for its parent's process (getppid, which nothing else here does), one
 * line says how many instructions were executed since the last time, and how many of them were integer dot products
 * (SDOT, UDOT), which tells whether the kernels made for the core were chosen. Threads are not kept apart and counters are not
 * atomic, so what is counted runs on one thread.
 *
 * The few declarations below are those of the plugin interface, version 1, that are used; QEMU's header is not needed. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define VISIBLE __attribute__((visibility("default")))
#define GETPPID 173 /* on aarch64 */

typedef uint64_t plugin_id;
typedef struct block block;             /* of translated instructions */
typedef struct instruction instruction; /* 4 bytes each on aarch64 */
enum { ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, block *));
void qemu_plugin_register_vcpu_tb_exec_inline(block *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const block *);
instruction *qemu_plugin_tb_get_insn(const block *, size_t);
const void *qemu_plugin_insn_data(const instruction *);
void qemu_plugin_outs(const char *);

VISIBLE int qemu_plugin_version = 1;

static uint64_t executed, dot_products;
static uint64_t executed_before, dot_products_before;

/* SDOT and UDOT of vectors (0x0e009400 without Q, U and registers) and by element (0x0f00e000). */
static bool is_dot_product(uint32_t word) {
  return (word & 0x9fe0fc00) == 0x0e809400 || (word & 0x9fc0f400) == 0x0f80e000;
}

static void translated(plugin_id id, block *b) {
  size_t count = qemu_plugin_tb_n_insns(b);
  uint64_t dots = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(b, i)), sizeof word);
    dots += is_dot_product(word);
  }
  qemu_plugin_register_vcpu_tb_exec_inline(b, ADD_U64, &executed, count);
  if (dots)
    qemu_plugin_register_vcpu_tb_exec_inline(b, ADD_U64, &dot_products, dots);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f, uint64_t g, uint64_t h) {
  if (number != GETPPID)
    return;
  char line[96];
  snprintf(line, sizeof line, "counted %" PRIu64 " %" PRIu64 "\n", executed - executed_before,
           dot_products - dot_products_before);
  qemu_plugin_outs(line);
  executed_before = executed;
  dot_products_before = dot_products;
}

VISIBLE int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
