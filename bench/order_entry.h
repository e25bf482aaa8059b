#pragma once
// OrderEntry: transactions of an order-entry business as TPC-C describes it: new order, payment,
// delivery, order status, stock level.

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <unordered_map>

#include "bench/support.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3::bench {

class OrderEntry {
 public:
  explicit OrderEntry(sqlite3* db) : db_(db) {}
  ~OrderEntry() {
    for (auto& [sql, statement] : statements_) {
      sqlite3_finalize(statement);
    }
  }

  void Create() {
    Exec(
        "CREATE TABLE district(id INTEGER PRIMARY KEY, next_order INT, ytd INT, name TEXT);"
        "CREATE TABLE customer(id INTEGER PRIMARY KEY, district INT, name TEXT, balance INT,"
        "  payments INT, data TEXT);"
        "CREATE INDEX customer_name ON customer(district, name);"
        "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price INT);"
        "CREATE TABLE stock(item INTEGER PRIMARY KEY, quantity INT, ytd INT, orders INT, data "
        "TEXT);"
        "CREATE TABLE orders(district INT, number INT, customer INT, carrier INT, at TEXT,"
        "  PRIMARY KEY(district, number)) WITHOUT ROWID;"
        "CREATE INDEX orders_customer ON orders(customer, number);"
        "CREATE TABLE new_order(district INT, number INT, PRIMARY KEY(district, number))"
        "  WITHOUT ROWID;"
        "CREATE TABLE order_line(district INT, number INT, line INT, item INT, quantity INT,"
        "  amount INT, delivered TEXT, PRIMARY KEY(district, number, line)) WITHOUT ROWID;"
        "CREATE TABLE history(customer INT, at TEXT, amount INT, data TEXT)");
    Exec("BEGIN");
    for (int d = 1; d <= kDistricts; ++d) {
      Run("INSERT INTO district VALUES(?, 1, 0, 'district')", {d});
    }
    Exec(fmt::format(
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < {}) INSERT INTO "
        "customer SELECT i, 1 + i % {}, 'name' || (i % 700), 0, 0, hex(zeroblob(150)) FROM c",
        kCustomers, kDistricts));
    Exec(fmt::format(
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < {}) INSERT INTO "
        "item SELECT i, 'item ' || i, 100 + i % 9900 FROM c",
        kItems));
    Exec("INSERT INTO stock SELECT id, 91, 0, 0, hex(zeroblob(25)) FROM item; COMMIT");
  }

  // TPC-C's mix: 45, 43, 4, 4, 4 of a hundred.
  void Transaction(std::mt19937_64& random) {
    const auto pick = [&](int most) {
      return static_cast<int>(random() % static_cast<uint64_t>(most)) + 1;
    };
    const int what = pick(100);
    const int district = pick(kDistricts);
    const int customer = pick(kCustomers);
    if (what <= 45) {
      Exec("BEGIN IMMEDIATE");
      const int64_t number = Ask("SELECT next_order FROM district WHERE id = ?", {district});
      Run("UPDATE district SET next_order = next_order + 1 WHERE id = ?", {district});
      Ask("SELECT balance FROM customer WHERE id = ?", {customer});
      Run("INSERT INTO orders VALUES(?, ?, ?, NULL, datetime('now'))",
          {district, number, customer});
      Run("INSERT INTO new_order VALUES(?, ?)", {district, number});
      const int lines = 4 + pick(11);
      for (int line = 1; line <= lines; ++line) {
        const int item = pick(kItems);
        const int quantity = pick(10);
        const int64_t price = Ask("SELECT price FROM item WHERE id = ?", {item});
        Ask("SELECT quantity FROM stock WHERE item = ?", {item});
        Run("UPDATE stock SET quantity = CASE WHEN quantity >= ?1 + 10 THEN quantity - ?1 ELSE "
            "quantity - ?1 + 91 END, ytd = ytd + ?1, orders = orders + 1 WHERE item = ?2",
            {quantity, item});
        Run("INSERT INTO order_line VALUES(?, ?, ?, ?, ?, ?, NULL)",
            {district, number, line, item, quantity, quantity * price});
      }
      // One of a hundred has an item that does not exist.
      Exec(pick(100) == 1 ? "ROLLBACK" : "COMMIT");
    } else if (what <= 88) {
      const int amount = pick(500'000);
      Exec("BEGIN IMMEDIATE");
      Run("UPDATE district SET ytd = ytd + ? WHERE id = ?", {amount, district});
      Ask("SELECT id FROM customer WHERE district = ? AND name = 'name7' LIMIT 1", {district});
      Run("UPDATE customer SET balance = balance - ?, payments = payments + 1 WHERE id = ?",
          {amount, customer});
      Run("INSERT INTO history VALUES(?, datetime('now'), ?, 'payment')", {customer, amount});
      Exec("COMMIT");
    } else if (what <= 92) {
      Exec("BEGIN IMMEDIATE");
      for (int d = 1; d <= kDistricts; ++d) {
        const int64_t number = Ask("SELECT min(number) FROM new_order WHERE district = ?", {d});
        if (number == 0) {
          continue;
        }
        Run("DELETE FROM new_order WHERE district = ? AND number = ?", {d, number});
        Run("UPDATE orders SET carrier = ? WHERE district = ? AND number = ?",
            {pick(10), d, number});
        Run("UPDATE order_line SET delivered = datetime('now') WHERE district = ? AND number = ?",
            {d, number});
        const int64_t sum = Ask(
            "SELECT sum(amount) FROM order_line WHERE district = ? AND number = ?", {d, number});
        const int64_t who =
            Ask("SELECT customer FROM orders WHERE district = ? AND number = ?", {d, number});
        Run("UPDATE customer SET balance = balance + ? WHERE id = ?", {sum, who});
      }
      Exec("COMMIT");
    } else if (what <= 96) {
      Ask("SELECT max(number) FROM orders WHERE customer = ?", {customer});
      Ask("SELECT sum(amount) FROM order_line WHERE district = ? AND number = 1", {district});
    } else {
      Ask("SELECT count(DISTINCT s.item) FROM order_line l JOIN stock s ON s.item = l.item WHERE "
          "l.district = ?1 AND l.number >= (SELECT next_order FROM district WHERE id = ?1) - 20 "
          "AND s.quantity < 15",
          {district});
    }
  }

  void Exec(const std::string& sql) {
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
      Die(sql + ": " + sqlite3_errmsg(db_));
    }
  }

 private:
  static constexpr int kDistricts = 10;
  static constexpr int kCustomers = 30'000;
  static constexpr int kItems = 20'000;

  int64_t Ask(const char* sql, std::initializer_list<int64_t> values) {
    sqlite3_stmt*& statement = statements_[sql];
    if (statement == nullptr &&
        sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) != SQLITE_OK) {
      Die(sqlite3_errmsg(db_));
    }
    int number = 0;
    for (const int64_t value : values) {
      sqlite3_bind_int64(statement, ++number, value);
    }
    int64_t answer = 0;
    if (sqlite3_step(statement) == SQLITE_ROW) {
      answer = sqlite3_column_int64(statement, 0);
    }
    if (sqlite3_reset(statement) != SQLITE_OK) {
      Die(sqlite3_errmsg(db_));
    }
    return answer;
  }
  void Run(const char* sql, std::initializer_list<int64_t> values) { (void)Ask(sql, values); }

  sqlite3* db_;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

}  // namespace sqlite_s3::bench
