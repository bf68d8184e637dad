-- Every item of every store, as the ERP has it today.
SELECT item_no, gtin, descr, dept, retail, tax_cd, store_no, changed_at, brand, alt_gtins, gtin_type
FROM items
