// pgJDBC against PGHOST, PGPORT, PGUSER, PGPASSWORD: "ok CLIENT: NAME" or "FAIL CLIENT: NAME: reason" a line.
// java -cp postgresql.jar JdbcClient.java
import java.sql.*;
import java.util.*;

public class JdbcClient {
  interface Work { void run() throws Exception; }

  static void attempt(String name, Work work) {
    try {
      work.run();
      System.out.println("ok pgJDBC: " + name);
    } catch (Throwable error) {
      String text = String.valueOf(error.getMessage()).replace('\n', ' ');
      System.out.println("FAIL pgJDBC: " + name + ": " + text.substring(0, Math.min(120, text.length())));
    }
  }

  static int count(ResultSet rows) throws SQLException {
    int found = 0;
    while (rows.next()) found++;
    rows.close();
    return found;
  }

  static void check(boolean holds, String what) {
    if (!holds) throw new IllegalStateException(what);
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, String> env = System.getenv();
    Properties login = new Properties();
    login.setProperty("user", env.get("PGUSER"));
    login.setProperty("password", env.get("PGPASSWORD"));
    login.setProperty("sslmode", "require");
    String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/revgauge";
    Connection connection = DriverManager.getConnection(url, login);
    DatabaseMetaData about = connection.getMetaData();
    attempt("schemas", () -> check(count(about.getSchemas()) >= 1, "none"));
    attempt("tables", () -> check(count(about.getTables(null, "public", "deals", null)) == 1, "no deals"));
    attempt("columns", () -> check(count(about.getColumns(null, "public", "deals", "%")) > 5, "too few"));
    attempt("primary keys", () -> {
      ResultSet keys = about.getPrimaryKeys(null, "public", "deals");
      check(keys.next() && keys.getString("COLUMN_NAME").equals("deal_id"), "not deal_id");
    });
    attempt("imported and exported keys", () -> {
      count(about.getImportedKeys(null, "public", "deals"));
      count(about.getExportedKeys(null, "public", "deals"));
    });
    attempt("indexes", () -> count(about.getIndexInfo(null, "public", "deals", false, true)));
    attempt("types", () -> check(count(about.getTypeInfo()) > 5, "too few"));
    attempt("functions and procedures", () -> {
      count(about.getFunctions(null, "public", "%"));
      count(about.getProcedures(null, "public", "%"));
    });
    attempt("privileges", () -> count(about.getTablePrivileges(null, "public", "%")));
    attempt("prepared, eight times", () -> {
      PreparedStatement statement = connection.prepareStatement("select ?::float8 + 1");
      for (int turn = 0; turn < 8; turn++) {
        statement.setDouble(1, 41);
        ResultSet rows = statement.executeQuery();
        check(rows.next() && rows.getDouble(1) == 42, "not 42");
      }
    });
    attempt("array parameter", () -> {
      PreparedStatement statement =
          connection.prepareStatement("select count(*) from information_schema.tables where table_name = any(?)");
      statement.setArray(1, connection.createArrayOf("text", new String[] {"deals", "scores"}));
      ResultSet rows = statement.executeQuery();
      check(rows.next() && rows.getInt(1) == 2, "not 2");
    });
    attempt("timestamp parameter", () -> {
      PreparedStatement statement = connection.prepareStatement("select count(*) from events where event_time >= ?");
      statement.setTimestamp(1, Timestamp.valueOf("2020-01-01 00:00:00"));
      check(count(statement.executeQuery()) == 1, "no row");
    });
    attempt("fetch size", () -> {
      connection.setAutoCommit(false);
      Statement statement = connection.createStatement();
      statement.setFetchSize(2);
      check(count(statement.executeQuery("select * from generate_series(1, 5)")) == 5, "not 5");
      connection.commit();
      connection.setAutoCommit(true);
    });
    attempt("query timeout", () -> {
      Statement statement = connection.createStatement();
      statement.setQueryTimeout(5);
      count(statement.executeQuery("select 1"));
    });
    connection.close();
  }
}
